"""What an operator sets: read from defaults, file, environment and command line, and checked as a whole."""

from tidemill.common.config.errors import ConfigError, Origin, Problem
from tidemill.common.config.load import Config, load_config, parse_assignments, settings_model
from tidemill.common.config.politeness import Politeness
from tidemill.common.config.secrets import ServerUrl, Url, masked, printable
from tidemill.common.config.settings import CommonSettings, HealthSettings, LogSettings, Settings, TelemetrySettings
from tidemill.common.config.sources import Convert, Limits, Priority, SourceFile, Sources, Watch, load_sources
from tidemill.common.config.units import ByteSize, Duration, duration_text, parse_duration, parse_size, size_text

__all__ = [
    "ByteSize",
    "CommonSettings",
    "Config",
    "ConfigError",
    "Convert",
    "Duration",
    "HealthSettings",
    "Limits",
    "LogSettings",
    "Origin",
    "Politeness",
    "Priority",
    "Problem",
    "ServerUrl",
    "Settings",
    "SourceFile",
    "Sources",
    "TelemetrySettings",
    "Url",
    "Watch",
    "duration_text",
    "load_config",
    "load_sources",
    "masked",
    "parse_assignments",
    "parse_duration",
    "parse_size",
    "printable",
    "settings_model",
    "size_text",
]
