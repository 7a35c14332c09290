module bessemer.test/prometheus-operator

go 1.26.0

// Not built: its ServiceMonitor's CRD is what charts are checked against.
require github.com/prometheus-operator/prometheus-operator v0.85.0
