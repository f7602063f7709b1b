package compose

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/sandbox"
	"accord/app/config"
)

func TestAFeedThatIsNotConfiguredIsNil(t *testing.T) {
	t.Parallel()
	everybodys, customers, err := engagement(outside{Vendors: config.Load(nil).Vendors, log: slog.New(slog.DiscardHandler), m: newMetrics()})
	require.NoError(t, err)
	require.True(t, everybodys == nil, "not an interface with nothing in it")
	require.True(t, customers == nil, "not an interface with nothing in it")

	for _, broken := range []map[string]string{{"ACCORD_CAMPAIGN_FEED_URL": "nowhere"}, {"ACCORD_ITERABLE_URL": "nowhere"}, {"ACCORD_ITERABLE_URL": "http://x", "ACCORD_ITERABLE_PLATFORM": "x"}} {
		_, _, err := engagement(outside{Vendors: config.Load(broken).Vendors, log: slog.New(slog.DiscardHandler), m: newMetrics()})
		require.Error(t, err)
	}
}

// TestTheSandboxServesBothFeeds under the settings that the development stack fills in.
func TestTheSandboxServesBothFeeds(t *testing.T) {
	t.Parallel()
	box, err := sandbox.New(sandbox.DefaultConfig())
	require.NoError(t, err)
	server := httptest.NewServer(box)
	t.Cleanup(func() {
		require.NoError(t, box.Close())
		server.Close()
	})
	for _, audience := range []string{`{"type":"global"}`, `{"type":"customers","ids":["ada"]}`} {
		resp, err := http.Post(server.URL+"/_sandbox/messages", "application/json", strings.NewReader(`{"title":"t","audience":`+audience+`}`))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusCreated, resp.StatusCode)
	}
	cfg := config.Load(nil)
	cfg.SandboxAddr = strings.TrimPrefix(server.URL, "http://")
	everybodys, customers, err := engagement(outside{Vendors: WithSandboxVendors(cfg).Vendors, log: slog.New(slog.DiscardHandler), m: newMetrics()})
	require.NoError(t, err)
	page, err := everybodys.Campaigns(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, page.Campaigns, 1)
	drafts, err := customers.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Len(t, drafts, 1)
}

func TestAFeedOfOnesOwnIsNotGivenTheSandboxsKey(t *testing.T) {
	t.Parallel()
	cfg := config.Load(map[string]string{"ACCORD_CAMPAIGN_FEED_URL": "https://feed.example"})
	require.Empty(t, WithSandboxVendors(cfg).Vendors.CampaignFeedKey.Reveal())
}
