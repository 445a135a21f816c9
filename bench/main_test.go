package main

import (
	"context"
	"os"
	"testing"
)

// The test binary plays the commands that the program starts itself for.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == usageOf {
		if err := runUsage(context.Background(), os.Args[2], os.Args[3:]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
