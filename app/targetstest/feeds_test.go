package targetstest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/engagement/campaigns"
	"accord/adapters/engagement/iterable"
	"accord/adapters/outbound"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// feeds are both adapters in front of a rig's engagement platform.
type feeds struct {
	*rig
	campaigns ports.CampaignFeed
	customers ports.CustomerFeed
}

func newFeeds(t *testing.T, timeout time.Duration) feeds {
	t.Helper()
	r := newRig(t, 0, timeout)
	api := func(vendor, header, value string, badKey []int) *outbound.Client {
		client, err := outbound.New(outbound.Config{Target: ports.Engagement, BaseURL: r.address + "/" + vendor, Timeout: timeout,
			CredentialStatuses: badKey, Authorize: func(h http.Header) { h.Set(header, value) }})
		require.NoError(t, err)
		t.Cleanup(client.CloseIdleConnections)
		return client
	}
	everybodys := api("engagement", "Authorization", "Bearer "+r.cfg.EngagementAPIKey, campaigns.CredentialStatuses)
	own, err := iterable.New(api("iterable", "Api-Key", r.cfg.IterableAPIKey, iterable.CredentialStatuses), iterable.Config{})
	require.NoError(t, err)
	return feeds{r, campaigns.New(everybodys, campaigns.Config{ReservedSources: []string{iterable.Source}}), own}
}

// post makes a message and answers its id in the sandbox.
func (f feeds) post(t *testing.T, body map[string]any) string {
	t.Helper()
	var made struct{ ID string }
	f.control(t, http.MethodPost, "messages", body, &made)
	return made.ID
}

var (
	everybody = map[string]any{"type": "global"}
	onlyAda   = map[string]any{"type": "customers", "ids": []string{"ada"}}
)

func message(name string, audience any, more map[string]any) map[string]any {
	m := map[string]any{"source": "crm", "external_id": name, "audience": audience, "title": "Title of " + name}
	maps.Copy(m, more)
	return m
}

// names reads everything from each feed.
func (f feeds) names(t *testing.T) (global, own []string) {
	t.Helper()
	page, err := f.campaigns.Campaigns(t.Context(), "")
	require.NoError(t, err)
	for _, c := range page.Campaigns {
		global = append(global, c.Draft.Content.Title)
	}
	drafts, err := f.customers.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	for _, d := range drafts {
		own = append(own, d.Content.Title)
	}
	return global, own
}

// reads are the two feeds as calls that fail or do not.
func (f feeds) reads() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"campaigns": func(ctx context.Context) error { _, err := f.campaigns.Campaigns(ctx, ""); return err },
		"customers": func(ctx context.Context) error { _, err := f.customers.CustomerMessages(ctx, "ada"); return err },
	}
}

// TestFeedFaults: every kind of fault, at both feeds, and both are themselves again afterwards.
func TestFeedFaults(t *testing.T) {
	t.Parallel()
	for name, want := range faults {
		for _, feed := range []string{"campaigns", "customers"} {
			if feed == "customers" && name == "409" {
				continue // a person that Iterable was told to forget: see below
			}
			t.Run(feed+" "+name, func(t *testing.T) {
				t.Parallel()
				f := newFeeds(t, want.callTimeout())
				f.post(t, message("global", everybody, nil))
				f.post(t, message("own", onlyAda, nil))
				injected := maps.Clone(want.fault)
				injected["calls"], injected["times"] = "read", 0
				if feed == "customers" {
					injected["customer"] = "ada"
				}
				f.fault(t, ports.Engagement, injected)
				judge(t, ports.Engagement, want, false, f.reads()[feed](t.Context()))
				f.clearFaults(t)
				global, own := f.names(t)
				require.Equal(t, []string{"Title of global"}, global)
				require.Equal(t, []string{"Title of own"}, own)
			})
		}
	}
}

func TestAForgottenCustomerHasNoMessages(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, 5*time.Second)
	f.post(t, message("own", onlyAda, nil))
	f.fault(t, ports.Engagement, fault{"kind": "status", "status": 409, "customer": "ada", "times": 0})
	drafts, err := f.customers.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, drafts)
}

// TestOneOfTwoCallsFails: half of what a customer has is not taken for all of it.
func TestOneOfTwoCallsFails(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, 5*time.Second)
	f.post(t, message("own", onlyAda, nil))
	f.fault(t, ports.Engagement, fault{"kind": "status", "status": 503, "customer": "ada", "times": 1})
	drafts, err := f.customers.CustomerMessages(t.Context(), "ada")
	require.Empty(t, drafts)
	judge(t, ports.Engagement, expected{code: "server_error", class: ports.Transient}, false, err)
}

func TestWrongFeedCredentials(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, 5*time.Second)
	for _, status := range []int{401, 403} {
		f.fault(t, ports.Engagement, fault{"kind": "status", "status": status, "times": 0})
		for _, read := range f.reads() {
			judge(t, ports.Engagement, expected{code: "credentials", class: ports.Transient}, false, read(t.Context()))
		}
		f.clearFaults(t)
	}
}

func TestReaderGivesUp(t *testing.T) {
	t.Parallel()
	for name := range (feeds{}).reads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFeeds(t, time.Minute)
			f.fault(t, ports.Engagement, fault{"kind": "timeout_before", "times": 0})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := f.reads()[name](ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, is := ports.AsTargetError(err)
			require.False(t, is)
		})
	}
}

// TestAMessageComesThroughOneFeedAsItWasMade: everything that POST /v1/messages takes arrives, whichever way it takes.
func TestAMessageComesThroughOneFeedAsItWasMade(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, 5*time.Second)
	publish := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	expiry := publish.Add(48 * time.Hour)
	all := map[string]any{
		"body": "Body", "deeplink": "app://orders/42", "expiry": expiry, "category": "order_updates", "image_url": "https://img.example/1.png",
		"pinned": true, "publish_at": publish, "locale": "en", "campaign": "spring", "variants": map[string]any{"de": map[string]any{"title": "Titel", "body": "Text"}},
	}
	withButton := maps.Clone(all)
	withButton["actions"] = []map[string]string{{"id": "track", "title": "Track it", "deeplink": "app://orders/42/track"}}
	f.post(t, message("global", everybody, withButton))
	f.post(t, message("plain", onlyAda, all))
	f.post(t, message("button", onlyAda, withButton))
	f.post(t, message("foreign", map[string]any{"type": "customers", "ids": []string{"grace"}}, all))

	content := func(title string, actions ...inbox.Action) inbox.Content {
		return inbox.Content{
			Text: inbox.Text{Title: title, Body: "Body", ImageURL: "https://img.example/1.png"}, Locale: "en", Category: "order_updates",
			Variants: map[string]inbox.Text{"de": {Title: "Titel", Body: "Text"}}, Link: "app://orders/42", Pinned: true, Actions: actions,
		}
	}
	track := inbox.Action{ID: "track", Title: "Track it", Link: "app://orders/42/track"}
	page, err := f.campaigns.Campaigns(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, page.Campaigns, 1)
	require.Equal(t, ports.Campaign{Draft: inbox.Draft{Source: "crm", ExternalID: "global", Audience: inbox.Global, Campaign: "spring",
		Content: content("Title of global", track), PublishAt: publish, Expiry: expiry}}, page.Campaigns[0])

	drafts, err := f.customers.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Len(t, drafts, 2)
	for i, want := range []inbox.Content{content("Title of button", track), content("Title of plain")} {
		got := drafts[i]
		require.NotEmpty(t, got.ExternalID)
		got.ExternalID = ""
		require.Equal(t, inbox.Draft{Source: f.customers.Source(), Audience: inbox.Personal, Recipients: []preference.CustomerID{"ada"},
			Campaign: "spring", Content: want, PublishAt: publish, Expiry: expiry}, got)
	}
}

// TestEditAndRetract: the name stays, and what is taken back is said so, or is gone.
func TestEditAndRetract(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, 5*time.Second)
	own := f.post(t, message("own", onlyAda, nil))
	global := f.post(t, message("global", everybody, nil))
	first, err := f.campaigns.Campaigns(t.Context(), "")
	require.NoError(t, err)
	require.False(t, first.More)
	before, err := f.customers.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)

	f.post(t, message("own", onlyAda, map[string]any{"title": "Other"}))
	f.post(t, message("global", everybody, map[string]any{"title": "Other"}))
	after, err := f.customers.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, before[0].ExternalID, after[0].ExternalID)
	require.NotEqual(t, before[0].Fingerprint(), after[0].Fingerprint())
	second, err := f.campaigns.Campaigns(t.Context(), first.Next)
	require.NoError(t, err)
	require.Len(t, second.Campaigns, 1, "only what has changed")
	require.Equal(t, "Other", second.Campaigns[0].Draft.Content.Title)

	f.control(t, http.MethodDelete, "messages/"+own, nil, nil)
	f.control(t, http.MethodDelete, "messages/"+global, nil, nil)
	after, err = f.customers.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, after)
	third, err := f.campaigns.Campaigns(t.Context(), second.Next)
	require.NoError(t, err)
	require.Equal(t, []ports.Campaign{{Draft: inbox.Draft{Source: "crm", ExternalID: "global"}, Retracted: true}}, third.Campaigns)
	last, err := f.campaigns.Campaigns(t.Context(), third.Next)
	require.NoError(t, err)
	require.Equal(t, ports.CampaignPage{Campaigns: []ports.Campaign{}, Next: third.Next}, last)
}

// TestReadingAllPagesMissesNothing, also when messages change while somebody reads.
func TestReadingAllPagesMissesNothing(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, 5*time.Second)
	const n = 230
	for i := range n {
		f.post(t, message(fmt.Sprintf("m%03d", i), everybody, nil))
	}
	seen, pages := map[string]string{}, 0
	for page := (ports.CampaignPage{More: true}); page.More; pages++ {
		var err error
		page, err = f.campaigns.Campaigns(t.Context(), page.Next)
		require.NoError(t, err)
		for _, c := range page.Campaigns {
			seen[c.Draft.ExternalID] = c.Draft.Content.Title
		}
		if pages == 0 { // one that was read already, and one that was not
			f.post(t, message("m000", everybody, map[string]any{"title": "Changed"}))
			f.post(t, message("m229", everybody, map[string]any{"title": "Changed"}))
		}
	}
	require.Len(t, seen, n)
	require.Equal(t, []string{"Changed", "Changed"}, []string{seen["m000"], seen["m229"]})
	require.Equal(t, 3, pages)
}

func TestNumberOfFeedCalls(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, 5*time.Second)
	f.names(t)
	calls := f.calls(t, ports.Engagement, "ada")
	slices.Sort(calls)
	require.Equal(t, []string{"GET /iterable/api/embedded-messaging/messages", "GET /iterable/api/inApp/getMessages"}, calls)
	require.Len(t, f.calls(t, ports.Engagement, ""), 3)
}
