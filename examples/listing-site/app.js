// Fills the pages of Krems from /app/data.json, after a moment, as single-page applications do.
const app = document.getElementById("app");
const make = (tag, attributes = {}, ...inner) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...inner);
  return element;
};

function showSearch(data) {
  const cards = data.cards.map((card) => {
    const time = make("time", { dateTime: card.updated }, "aktualisiert " + card.updated);
    const link = make("a", { className: "to", href: card.href }, card.title);
    const article = make("article", { className: "card" }, make("div", {}, link, make("br"), time),
      make("span", { className: "price" }, card.price));
    article.dataset.id = card.id;
    return article;
  });
  const next = data.next ? [make("a", { rel: "next", href: data.next }, "Weiter")] : [];
  return [make("h1", { className: "count" }, data.heading), ...cards, make("p", { className: "paging" }, ...next)];
}

function showHome(data) {
  const rows = data.rows.map(([label, value]) =>
    make("div", { className: "row" }, make("i", {}, label), " ", make("b", {}, value)));
  const similar = data.similar.map((home) =>
    make("li", {}, make("a", { href: home.href }, home.title), " ", make("span", { className: "price" }, home.price)));
  return [make("h1", {}, data.title), make("span", { className: "badge" }, data.badge),
    make("section", { className: "facts" }, ...rows), make("p", { className: "text" }, data.text),
    make("aside", { className: "similar" }, make("h2", {}, "Ähnliche Objekte"), make("ul", {}, ...similar))];
}

async function fill() {
  const answer = await fetch("/app/data.json?at=" + encodeURIComponent(location.pathname + location.search));
  const main = make("main");
  if (answer.status === 404 || answer.status === 410) {
    document.title = "Nicht gefunden";
    main.append(make("h1", {}, "Dieses Inserat wurde entfernt"));
  } else if (!answer.ok) {
    main.append(make("p", {}, "Fehler " + answer.status));
  } else {
    const data = await answer.json();
    document.title = data.title || data.heading;
    main.append(...(data.cards ? showSearch(data) : showHome(data)));
    main.append(make("footer", { innerHTML: data.notice }));
  }
  app.replaceChildren(make("header", {}, make("b", {}, "Nest & Key")), main);
}

setTimeout(fill, 50);
