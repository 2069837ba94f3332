// Package windows is the tier of pods for Windows: programs that were built for Windows get a Key Vault secret with nothing but what the
// webhook injects into such pods.
//
// On Windows nodes they run in pods as users' do. Where there are none, those that can be compiled anywhere run under Wine on Linux nodes,
// in a pod that has all that the webhook put into one for Windows. Such a row is called "windows (wine)" and is no Windows node: neither
// its kernel nor its containers, users and kubelet are there. What the webhook makes of pods for Windows is the admission tier's.
package windows

import (
	"slices"

	"github.com/wi-e2e/wi-e2e/suites"
)

// reader may read the vault's secrets.
var reader = suites.Identity{Name: "reader", Reads: true}

// app is the service account of each test, and its first container.
const app = "app"

// Tests of the tier.
func Tests() []suites.Test { return slices.Concat(wineTests(), nodeTests()) }

func trusted() []suites.Trust { return []suites.Trust{{Account: app, Identity: reader}} }
