package operations

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/suites"
)

// tlsVersion as the webhook's flag names it.
type tlsVersion struct {
	name   string
	number uint16
}

var tlsVersions = []tlsVersion{{"1.0", tls.VersionTLS10}, {"1.1", tls.VersionTLS11}, {"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}

// tlsMinimum offers each replica one version at a time. The versions that it has to take are the proof that it is asked rightly.
func tlsMinimum(ctx context.Context, t *suites.T) {
	configured := t.Subject().TLSMinVersion
	minimum := slices.IndexFunc(tlsVersions, func(v tlsVersion) bool { return v.name == configured })
	t.Require(minimum >= 0, "the configured minimum, --tls-min-version=%s, is no version of TLS", configured)
	t.Note("the configured minimum is TLS %s", configured)
	replicas := connectToReplicas(ctx, t, settled(ctx, t))
	trust := registeredTrust(ctx, t)
	for _, r := range replicas {
		for i, version := range tlsVersions {
			config := trust.config()
			config.MinVersion, config.MaxVersion = version.number, version.number
			_, err := r.handshake(ctx, t, config)
			switch {
			case i >= minimum:
				t.Check(err == nil, "replica %s does not take TLS %s, with a minimum of %s: %v", r.name, version.name, configured, err)
			case err == nil:
				t.Check(false, "replica %s takes TLS %s, below the minimum of %s", r.name, version.name, configured)
			default:
				t.Check(isVersionRefusal(err), "replica %s does not take TLS %s, but not because of the version: %v", r.name, version.name, err)
			}
		}
	}
}

// isVersionRefusal is the alert protocol_version, which crypto/tls tells by its text only.
func isVersionRefusal(err error) bool {
	remote, ok := errors.AsType[*net.OpError](err)
	return ok && remote.Op == "remote error" && strings.Contains(remote.Err.Error(), "protocol version not supported")
}
