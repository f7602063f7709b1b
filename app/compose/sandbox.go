package compose

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"accord/adapters/sandbox"
	"accord/app/config"
)

// Sandbox emulates the vendors until ctx ends.
func Sandbox(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	ln, err := listen("ACCORD_SANDBOX_ADDR", cfg.SandboxAddr)
	if err != nil {
		return err
	}
	log.Info("sandbox is listening", "address", ln.Addr().String())
	return serveSandbox(ctx, ln, cfg, log)
}

func serveSandbox(ctx context.Context, ln net.Listener, cfg config.Config, log *slog.Logger) error {
	sc := sandbox.DefaultConfig()
	sc.StatePath, sc.ApplyDelay, sc.Logger = cfg.SandboxState, cfg.SandboxApplyDelay, log
	sb, err := sandbox.New(sc)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	// Calls held by a fault would hold up the stop: let go of them first.
	release := context.AfterFunc(ctx, func() { _ = sb.Close() })
	defer release()
	srv := &http.Server{Handler: sb, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	return errors.Join(serve(ctx, ln, srv, cfg.StopTimeout), sb.Close())
}

// WithSandboxVendors points whatever vendor setting is empty at the sandbox, with the sandbox's own credentials.
func WithSandboxVendors(cfg config.Config) config.Config {
	sc := sandbox.DefaultConfig()
	base := "http://" + cfg.SandboxAddr
	v := &cfg.Vendors
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	secret := func(field *config.Secret, value string) {
		if *field == "" {
			*field = config.Secret(value)
		}
	}
	fill(&v.BrazeURL, base+"/braze")
	secret(&v.BrazeAPIKey, sc.BrazeAPIKey)
	fill(&v.OneSignalURL, base+"/onesignal")
	fill(&v.OneSignalAppID, sc.OneSignalAppID)
	secret(&v.OneSignalAPIKey, sc.OneSignalAPIKey)
	fill(&v.OneTrustURL, base+"/onetrust")
	fill(&v.OneTrustClientID, sc.OneTrustClientID)
	secret(&v.OneTrustClientSecret, sc.OneTrustClientSecret)
	secret(&v.OneTrustRequestInformation, sc.CollectionPointToken())
	if len(v.BrazeGroups) == 0 {
		v.BrazeGroups = map[string]string{}
		for _, ch := range sc.Channels {
			v.BrazeGroups[ch.Key] = ch.BrazeGroupID
		}
	}
	if len(v.OneTrustPurposes) == 0 {
		v.OneTrustPurposes = map[string]string{}
		for _, p := range sc.Purposes {
			v.OneTrustPurposes[p.Name] = p.OneTrustID
		}
	}
	return cfg
}

// SandboxEnv prints the settings that point the API and a worker at a sandbox, for a shell to read.
func SandboxEnv(cfg config.Config) string {
	v := WithSandboxVendors(config.Config{SandboxAddr: cfg.SandboxAddr}).Vendors
	pairs := func(m map[string]string) string {
		var out []string
		for k, id := range m {
			out = append(out, k+"="+id)
		}
		return strings.Join(out, ",")
	}
	lines := [][2]string{
		{"ACCORD_BRAZE_URL", v.BrazeURL}, {"ACCORD_BRAZE_API_KEY", v.BrazeAPIKey.Reveal()}, {"ACCORD_BRAZE_GROUPS", pairs(v.BrazeGroups)},
		{"ACCORD_ONESIGNAL_URL", v.OneSignalURL}, {"ACCORD_ONESIGNAL_APP_ID", v.OneSignalAppID}, {"ACCORD_ONESIGNAL_API_KEY", v.OneSignalAPIKey.Reveal()},
		{"ACCORD_ONETRUST_URL", v.OneTrustURL}, {"ACCORD_ONETRUST_CLIENT_ID", v.OneTrustClientID},
		{"ACCORD_ONETRUST_CLIENT_SECRET", v.OneTrustClientSecret.Reveal()},
		{"ACCORD_ONETRUST_REQUEST_INFORMATION", v.OneTrustRequestInformation.Reveal()}, {"ACCORD_ONETRUST_PURPOSES", pairs(v.OneTrustPurposes)},
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("export " + l[0] + "='" + l[1] + "'\n")
	}
	return b.String()
}
