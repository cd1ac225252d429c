// Holds dashboards against Grafana's own schema: no field that it does not know, none missing that it needs.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The SDK answers an empty list of errors where there is none.
func wrong(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func main() {
	plugins.RegisterDefaultPlugins()
	status := 0
	for _, path := range os.Args[1:] {
		raw, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		read := dashboard.Dashboard{}
		says := wrong(read.UnmarshalJSONStrict(raw))
		if says == "" {
			says = wrong(read.Validate())
		}
		if says != "" {
			fmt.Printf("%s: %s\n", path, says)
			status = 1
		}
	}
	os.Exit(status)
}
