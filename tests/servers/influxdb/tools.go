//go:build tools

// Package servers names the commands that scripts/test-servers.sh builds for the tests.
package servers

import (
	_ "github.com/influxdata/influx-cli/v2/cmd/influx"
	_ "github.com/influxdata/influxdb/v2/cmd/influxd"
	_ "github.com/influxdata/pkg-config"
)
