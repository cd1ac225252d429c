"""What a service tells about itself: metrics, traces, logs, health."""
