"""Dashboards as code: `python -m deploy.observability` writes them as Grafana reads them."""
