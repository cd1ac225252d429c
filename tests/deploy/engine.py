"""Images by buildah and containers by podman, in a storage of their own; the base is made by debootstrap."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.compose_file import DOCKERFILE
from tidemill.common.servers.nats import nats_binary

CONTEXT = DOCKERFILE.parents[2]
SUITE = "trixie"
PACKAGES = "ca-certificates,python3,python3-venv"
PYTHON, NATS = "localhost/base/python", "localhost/base/nats"
"""In the place of PYTHON_IMAGE and NATS_IMAGE: the second is the first with nats-server."""

CERTIFICATES = Path("/etc/ssl/certs")
UNIFIED = Path("/sys/fs/cgroup/unified")
WITHOUT_UNIFIED = ["unshare", "--mount", "sh", "-ec", f'umount {UNIFIED}; exec "$@"', "sh"]
"""crun takes version 1 of control groups or version 2, not controllers in both: it is not shown the second."""

LIMITS = ["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
"""By itself podman asks for more than root may have in a machine that is a container, too."""


@dataclass
class Engine:
    folder: Path

    @property
    def storage(self) -> list[str]:
        return ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]

    def podman(self, *words: str) -> list[str]:
        controllers = UNIFIED / "cgroup.controllers"
        hybrid = controllers.exists() and controllers.read_text().strip()
        command = ["env", "DISABLE_HC_SYSTEMD=true", "podman", "--cgroup-manager=cgroupfs", *self.storage, *words]
        return [*WITHOUT_UNIFIED, *command] if hybrid else command

    def ask(self, *words: str) -> str:
        done = subprocess.run(self.podman(*words), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def remove_all(self) -> None:
        """Containers, which have ten seconds to end, and volumes; images stay."""
        self.ask("rm", "--all", "--force", "--time=10")
        self.ask("volume", "rm", "--all", "--force")

    def run(self, *words: str) -> list[str]:
        """The command of a container in the foreground: it passes on signals, and ends as the container ends."""
        return self.podman("run", "--rm", "--network=host", *LIMITS, *words)

    def build(self, tag: str, file: Path, *words: str, context: Path = CONTEXT) -> float:
        """Seconds it took."""
        command = ["buildah", *self.storage, "build", "--isolation=chroot", "--layers", "--format=docker"]
        command += ["--file", str(file), "--tag", tag, *words, str(context)]
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return time.monotonic() - begun

    def build_target(self, target: str) -> float:
        """With the certificates of this machine, which know the proxy of a company, where it has any."""
        words = [f"--target={target}", f"--build-arg=PYTHON_IMAGE={PYTHON}", f"--build-arg=NATS_IMAGE={NATS}"]
        if CERTIFICATES.is_dir():
            words.append(f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
        return self.build(image_of(target), DOCKERFILE, *words)

    def build_bases(self) -> None:
        root, context = self.folder / "root", self.folder / "base"
        context.mkdir()
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            pytest.skip(f"debootstrap makes no base here: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
        leave = ["--exclude=./dev/*", "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*"]
        subprocess.run(["tar", "-C", root, *leave, "-cf", context / "root.tar", "."], check=True, timeout=120)
        shutil.rmtree(root)
        shutil.copy(nats_binary(), context / "nats-server")
        (context / "python").write_text('FROM scratch\nADD root.tar /\nCMD ["python3"]\n')
        (context / "nats").write_text(f'FROM {PYTHON}\nCOPY nats-server /usr/local/bin/\nENTRYPOINT ["nats-server"]\n')
        for tag in (PYTHON, NATS):
            self.build(tag, context / Path(tag).name, context=context)


def image_of(target: str) -> str:
    return f"localhost/tidemill/{target}"


@contextmanager
def engine() -> Iterator[Engine]:
    """Skips where there is none."""
    if os.geteuid() != 0:
        pytest.skip("debootstrap and a storage of images want root")
    for name in ("debootstrap", "buildah", "podman", "crun"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} on PATH (Debian: apt install {name})")
    made = Engine(Path(tempfile.mkdtemp(prefix="tidemill-images-")))
    try:
        made.build_bases()
        yield made
    finally:
        subprocess.run(["umount", made.folder / "storage" / "overlay"], capture_output=True, check=False)
        shutil.rmtree(made.folder)
