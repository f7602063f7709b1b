package compose

import (
	"fmt"
	"log/slog"
	"net/http"

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

// targets builds the three systems outside, each behind its own rate limit and breaker.
func targets(v config.Vendors, log *slog.Logger, m *metrics) (map[preference.Target]ports.TargetSystem, error) {
	api := func(t preference.Target, base string, rate float64, authorize func(http.Header), badKey ...int) (ports.VendorAPI, error) {
		return outbound.New(outbound.Config{Target: t, BaseURL: base, Timeout: v.Timeout, Rate: rate, Authorize: authorize,
			CredentialStatuses: badKey, Logger: log, Observe: m.vendorCall})
	}
	bearer := func(scheme string, key config.Secret) func(http.Header) {
		return func(h http.Header) { h.Set("Authorization", scheme+" "+key.Reveal()) }
	}
	crmAPI, err := api(preference.CRM, v.BrazeURL, v.BrazeRate, bearer("Bearer", v.BrazeAPIKey))
	if err != nil {
		return nil, fmt.Errorf("braze: %w", err)
	}
	pushAPI, err := api(preference.Push, v.OneSignalURL, v.OneSignalRate, bearer("Key", v.OneSignalAPIKey), onesignal.CredentialStatuses...)
	if err != nil {
		return nil, fmt.Errorf("onesignal: %w", err)
	}
	manage, err := api(preference.CMP, v.OneTrustURL, v.OneTrustRate, nil)
	if err != nil {
		return nil, fmt.Errorf("onetrust: %w", err)
	}
	receipts := manage
	if v.OneTrustReceiptsURL != "" {
		if receipts, err = api(preference.CMP, v.OneTrustReceiptsURL, v.OneTrustRate, nil); err != nil {
			return nil, fmt.Errorf("onetrust: %w", err)
		}
	}
	return adapt(v, crmAPI, pushAPI, manage, receipts)
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
	crm, err := braze.New(crmAPI, braze.Config{Groups: groups})
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

// engagement builds the feeds of the engagement platform, each behind its own rate limit and breaker. One that is not
// configured is nil.
func engagement(v config.Vendors, log *slog.Logger, m *metrics) (ports.CampaignFeed, ports.CustomerFeed, error) {
	api := func(base string, rate float64, header, value string, badKey ...int) (ports.VendorAPI, error) {
		c := outbound.Config{Target: ports.Engagement, BaseURL: base, Timeout: v.Timeout, Rate: rate, MaxBody: maxFeedBody,
			CredentialStatuses: badKey, Logger: log, Observe: m.vendorCall}
		if value != "" {
			c.Authorize = func(h http.Header) { h.Set(header, value) }
		}
		return outbound.New(c)
	}
	var everybodys ports.CampaignFeed
	if v.CampaignFeedURL != "" {
		bearer := ""
		if key := v.CampaignFeedKey.Reveal(); key != "" {
			bearer = "Bearer " + key
		}
		feed, err := api(v.CampaignFeedURL, v.CampaignFeedRate, "Authorization", bearer, campaigns.CredentialStatuses...)
		if err != nil {
			return nil, nil, fmt.Errorf("campaign feed: %w", err)
		}
		everybodys = campaigns.New(feed, campaigns.Config{ReservedSources: []string{iterable.Source}, Logger: log,
			Skipped: func() { m.skipped.WithLabelValues("campaigns", "nameless").Inc() }})
	}
	if v.IterableURL == "" {
		return everybodys, nil, nil
	}
	own, err := api(v.IterableURL, v.IterableRate, "Api-Key", v.IterableAPIKey.Reveal(), iterable.CredentialStatuses...)
	if err != nil {
		return nil, nil, fmt.Errorf("iterable: %w", err)
	}
	customers, err := iterable.New(own, iterable.Config{Platform: v.IterablePlatform, PackageName: v.IterablePackage,
		NoEmbedded: !v.IterableEmbedded, Logger: log, Skipped: func(reason string) { m.skipped.WithLabelValues(iterable.Source, reason).Inc() }})
	if err != nil {
		return nil, nil, err
	}
	return everybodys, customers, nil
}
