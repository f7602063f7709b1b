package compose

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"accord/adapters/cmp/onetrust"
	"accord/adapters/crm/braze"
	"accord/adapters/engagement/campaigns"
	"accord/adapters/engagement/iterable"
	"accord/adapters/outbound"
	"accord/adapters/push/onesignal"
	"accord/app/config"
	"accord/domain/preference"
	"accord/ports"
)

// outside is what every system outside is reached with.
type outside struct {
	config.Vendors
	log    *slog.Logger
	m      *metrics
	tracer trace.Tracer
	tell   []string // targets that are sent our traceparent
}

func (c *core) outside() outside {
	return outside{c.cfg.Vendors, c.log, c.metrics, c.tracing.Tracer("outbound"), c.cfg.Tracing.TellTargets}
}

// client builds the calls to one API of a target, behind a rate limit and a breaker of its own.
func (o outside) client(api string, c outbound.Config) (ports.VendorAPI, error) {
	c.Timeout, c.Logger, c.Observe = o.Timeout, o.log, o.m.vendorCall
	c.Tracer, c.TellTrace = o.tracer, slices.Contains(o.tell, string(c.Target))
	client, err := outbound.New(c)
	if err != nil {
		return nil, err
	}
	o.m.watchBreaker(c.Target, api, client)
	return client, nil
}

// targets builds the three systems outside.
func targets(v outside) (map[preference.Target]ports.TargetSystem, error) {
	api := func(t preference.Target, name, base string, rate float64, authorize func(http.Header), badKey ...int) (ports.VendorAPI, error) {
		return v.client(name, outbound.Config{Target: t, BaseURL: base, Rate: rate, Authorize: authorize, CredentialStatuses: badKey})
	}
	bearer := func(scheme string, key config.Secret) func(http.Header) {
		return func(h http.Header) { h.Set("Authorization", scheme+" "+key.Reveal()) }
	}
	crmAPI, err := api(preference.CRM, "braze", v.BrazeURL, v.BrazeRate, bearer("Bearer", v.BrazeAPIKey))
	if err != nil {
		return nil, fmt.Errorf("braze: %w", err)
	}
	pushAPI, err := api(preference.Push, "onesignal", v.OneSignalURL, v.OneSignalRate, bearer("Key", v.OneSignalAPIKey), onesignal.CredentialStatuses...)
	if err != nil {
		return nil, fmt.Errorf("onesignal: %w", err)
	}
	manage, err := api(preference.CMP, "onetrust", v.OneTrustURL, v.OneTrustRate, nil)
	if err != nil {
		return nil, fmt.Errorf("onetrust: %w", err)
	}
	receipts := manage
	if v.OneTrustReceiptsURL != "" {
		if receipts, err = api(preference.CMP, "onetrust_receipts", v.OneTrustReceiptsURL, v.OneTrustRate, nil); err != nil {
			return nil, fmt.Errorf("onetrust: %w", err)
		}
	}
	return adapt(v.Vendors, crmAPI, pushAPI, manage, receipts)
}

func adapt(v config.Vendors, crmAPI, pushAPI, manage, receipts ports.VendorAPI) (map[preference.Target]ports.TargetSystem, error) {
	groups := map[preference.ChannelKey]string{}
	for channel, id := range v.BrazeGroups {
		groups[preference.ChannelKey(channel)] = id
	}
	purposes := map[preference.PurposeID]string{}
	for purpose, id := range v.OneTrustPurposes {
		purposes[preference.PurposeID(purpose)] = id
	}
	topics := map[preference.TopicKey]string{}
	for topic, id := range v.BrazeTopics {
		topics[preference.TopicKey(topic)] = id
	}
	crm, err := braze.New(crmAPI, braze.Config{Groups: groups, Topics: topics})
	if err != nil {
		return nil, err
	}
	push, err := onesignal.New(pushAPI, onesignal.Config{AppID: v.OneSignalAppID})
	if err != nil {
		return nil, err
	}
	cmp, err := onetrust.New(manage, receipts, onetrust.Config{Purposes: purposes, CollectionPoint: v.OneTrustRequestInformation.Reveal(),
		IdentifierType: v.OneTrustIdentifierType, ClientID: v.OneTrustClientID, ClientSecret: v.OneTrustClientSecret.Reveal()})
	if err != nil {
		return nil, err
	}
	return map[preference.Target]ports.TargetSystem{preference.CRM: crm, preference.Push: push, preference.CMP: cmp}, nil
}

// maxFeedBody bounds one answer of a feed. In-app messages carry their HTML, campaigns may name many customers.
const maxFeedBody = 16 << 20

// engagement builds the feeds of the engagement platform. One that is not configured is nil.
func engagement(v outside) (ports.CampaignFeed, ports.CustomerFeed, error) {
	api := func(name, base string, rate float64, header, value string, badKey ...int) (ports.VendorAPI, error) {
		c := outbound.Config{Target: ports.Engagement, BaseURL: base, Rate: rate, MaxBody: maxFeedBody, CredentialStatuses: badKey}
		if value != "" {
			c.Authorize = func(h http.Header) { h.Set(header, value) }
		}
		return v.client(name, c)
	}
	var everybodys ports.CampaignFeed
	if v.CampaignFeedURL != "" {
		bearer := ""
		if key := v.CampaignFeedKey.Reveal(); key != "" {
			bearer = "Bearer " + key
		}
		feed, err := api("campaigns", v.CampaignFeedURL, v.CampaignFeedRate, "Authorization", bearer, campaigns.CredentialStatuses...)
		if err != nil {
			return nil, nil, fmt.Errorf("campaign feed: %w", err)
		}
		everybodys = campaigns.New(feed, campaigns.Config{ReservedSources: []string{iterable.Source}, Logger: v.log,
			Skipped: func() { v.m.skipped.WithLabelValues("campaigns", "nameless").Inc() }})
	}
	if v.IterableURL == "" {
		return everybodys, nil, nil
	}
	own, err := api(iterable.Source, v.IterableURL, v.IterableRate, "Api-Key", v.IterableAPIKey.Reveal(), iterable.CredentialStatuses...)
	if err != nil {
		return nil, nil, fmt.Errorf("iterable: %w", err)
	}
	customers, err := iterable.New(own, iterable.Config{Platform: v.IterablePlatform, PackageName: v.IterablePackage,
		NoEmbedded: !v.IterableEmbedded, Logger: v.log, Skipped: func(reason string) { v.m.skipped.WithLabelValues(iterable.Source, reason).Inc() }})
	if err != nil {
		return nil, nil, err
	}
	return everybodys, customers, nil
}
