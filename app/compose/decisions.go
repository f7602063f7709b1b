package compose

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"accord/adapters/cmp/onetrust"
	"accord/adapters/crm/braze"
	"accord/adapters/engagement/iterable"
	"accord/adapters/external"
	"accord/adapters/push/onesignal"
	"accord/app/decisions"
	"accord/domain/preference"
	"accord/ports"
)

// decisions builds what hears from systems outside. Sources without a secret are not there.
func (c *core) decisions(service ports.Preferences) (ports.Decisions, error) {
	secrets, err := c.cfg.Webhooks.Sources()
	if err != nil {
		return nil, err
	}
	groups := map[preference.ChannelKey]string{}
	for channel, id := range c.cfg.Vendors.BrazeGroups {
		groups[preference.ChannelKey(channel)] = id
	}
	purposes := map[preference.PurposeID]string{}
	for purpose, id := range c.cfg.Vendors.OneTrustPurposes {
		purposes[preference.PurposeID(purpose)] = id
	}
	sources := map[string]ports.WebhookSource{
		"braze":     {From: preference.FromCRM, Reader: braze.NewWebhooks(braze.Config{Groups: groups})},
		"onesignal": {From: preference.FromPush, Reader: onesignal.Webhooks{}},
		"onetrust":  {From: preference.FromCMP, Reader: onetrust.NewWebhooks(purposes)},
		"iterable":  {From: preference.FromEngagement, Reader: iterable.NewWebhooks(c.cfg.Webhooks.IterableTypes)},
		"generic":   {From: preference.FromExternal, Reader: external.Reader{}},
	}
	for name, source := range sources {
		source.Secrets, source.Shared, source.Header = secrets[name].Secrets, secrets[name].Shared, c.cfg.Webhooks.SharedHeader
		sources[name] = source
		if len(source.Secrets)+len(source.Shared) > 0 {
			c.metrics.expectWebhooks(name)
		}
	}
	return decisions.New(decisions.Config{Sources: sources, Preferences: service, Accounts: c.accounts, Store: c.db, Now: time.Now,
		Observe: c.metrics.webhookReceived, Logger: c.log}), nil
}

func newReceivedWebhooks(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_webhooks_received_total",
		Help: "Events that other systems told us of, by what became of them; messages that were refused or could not be read count as one."},
		[]string{"source", "outcome"})
	reg.MustRegister(c)
	return c
}

// expectWebhooks shows what an alert asks for from the start, so that the first one refused is an increase.
func (m *metrics) expectWebhooks(source string) {
	for _, outcome := range []string{"refused", "invalid", "failed"} {
		m.webhooks.WithLabelValues(source, outcome)
	}
}

func (m *metrics) webhookReceived(source, outcome string) {
	m.webhooks.WithLabelValues(source, outcome).Inc()
}
