package compose

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"accord/adapters/sandbox"
	"accord/app/config"
)

// Sandbox emulates the vendors until ctx ends.
func Sandbox(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	ln, err := listen(ctx, "ACCORD_SANDBOX_ADDR", cfg.SandboxAddr)
	if err != nil {
		return err
	}
	log.Info("sandbox is listening", "address", ln.Addr().String())
	return serveSandbox(ctx, ln, cfg, log)
}

func serveSandbox(ctx context.Context, ln net.Listener, cfg config.Config, log *slog.Logger) error {
	sc := sandbox.DefaultConfig()
	sc.StatePath, sc.ApplyDelay, sc.Logger = cfg.SandboxState, cfg.SandboxApplyDelay, log
	catalogue, err := cfg.Catalogue()
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	for _, t := range catalogue.Topics() {
		sc.Topics = append(sc.Topics, sandbox.EmailTopic(string(t.Key)))
	}
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
	if v.CampaignFeedURL == "" { // a feed of somebody's own may be one without a key
		v.CampaignFeedURL = base + "/engagement"
		secret(&v.CampaignFeedKey, sc.EngagementAPIKey)
	}
	fill(&v.IterableURL, base+"/iterable")
	secret(&v.IterableAPIKey, sc.IterableAPIKey)
	if len(v.BrazeGroups) == 0 {
		v.BrazeGroups = map[string]string{}
		for _, ch := range sc.Channels {
			v.BrazeGroups[ch.Key] = ch.BrazeGroupID
		}
	}
	if catalogue, err := cfg.Catalogue(); err == nil && len(v.BrazeTopics) == 0 {
		v.BrazeTopics = map[string]string{}
		for _, t := range catalogue.Topics() {
			v.BrazeTopics[string(t.Key)] = sandbox.EmailTopic(string(t.Key)).BrazeGroupID
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
