package sandbox

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (h *harness) purposes(identifier string) map[string]map[string]any {
	h.t.Helper()
	a := h.profiles("?properties=ignoreCount", "identifier", identifier)
	require.Equal(h.t, 200, a.status, a.body)
	out := map[string]map[string]any{}
	content := a.json(h.t)["content"].([]any)
	if len(content) == 0 {
		return out
	}
	for _, p := range content[0].(map[string]any)["Purposes"].([]any) {
		purpose := p.(map[string]any)
		out[purpose["Id"].(string)] = purpose
	}
	return out
}

func TestOneTrustReceiptsAddUp(t *testing.T) {
	t.Parallel()
	h := start(t)
	for i, step := range []struct{ kind, status, view string }{
		{"NOTGIVEN", "NO_CONSENT", "unknown"}, {"CONFIRMED", "ACTIVE", "granted"}, {"CONFIRMED", "ACTIVE", "granted"},
		{"WITHDRAWN", "WITHDRAWN", "withdrawn"}, {"PENDING", "PENDING", "unknown"},
	} {
		h.clock.advance(time.Minute)
		a := h.receipt("ada", pushPurpose, step.kind)
		require.Equal(t, 200, a.status, a.body)
		var claims struct {
			ID string `json:"jti"`
		}
		require.NoError(t, verifyJWT(h.cfg.CollectionPointSecret, a.json(t)["receipt"].(string), &claims))
		p := h.purposes("ada")[pushPurpose]
		require.Equal(t, step.status, p["Status"])
		require.Equal(t, "push-marketing", p["Name"])
		require.Equal(t, float64(i+1), p["TotalTransactionCount"], "a repeated receipt counts again")
		require.Equal(t, claims.ID, p["LastReceiptId"])
		require.Equal(t, h.clock.Now().Format(receiptTime), p["LastTransactionDate"])
		require.Equal(t, step.view, h.customer("ada").CMP.Purposes["push-marketing"])
	}
	require.Equal(t, "unknown", h.customer("ada").CMP.Purposes["email-marketing"])
}

func TestOneTrustDropsWhatItCannotUseWithoutAWord(t *testing.T) {
	t.Parallel()
	h := start(t)
	token := h.cfg.CollectionPointToken()
	for _, purposes := range []string{
		`{"Id":"` + pushPurpose + `","TransactionType":"CONFIRM"}`,
		`{"Id":"` + pushPurpose + `","TransactionType":"confirmed"}`,
		`{"id":"` + pushPurpose + `","transactionType":"CONFIRMED"}`,
		`{"Id":"unknown","TransactionType":"CONFIRMED"}`,
	} {
		a := h.do("POST", "/onetrust/request/v1/consentreceipts",
			`{"requestInformation":"`+token+`","identifier":"ada","purposes":[`+purposes+`]}`)
		require.Equal(t, 200, a.status, purposes)
		require.NotEmpty(t, a.json(t)["receipt"])
	}
	require.Empty(t, h.purposes("ada"))

	h.do("POST", "/onetrust/request/v1/consentreceipts", `{"requestInformation":"`+token+`","identifier":"ada","purposes":[
		{"Id":"`+pushPurpose+`","TransactionType":"NOPE"},{"Id":"`+emailPurpose+`","TransactionType":"CONFIRMED"}]}`)
	require.Len(t, h.purposes("ada"), 1)
}

func TestOneTrustReceiptFrame(t *testing.T) {
	t.Parallel()
	h := start(t)
	token := h.cfg.CollectionPointToken()
	post := func(body string) answer { return h.do("POST", "/onetrust/request/v1/consentreceipts", body) }
	forged := DefaultConfig()
	forged.CollectionPointSecret = "other"
	a := post(`{"requestInformation":"` + forged.CollectionPointToken() + `","identifier":"ada"}`)
	require.Equal(t, 401, a.status)
	require.Contains(t, a.header.Get("Content-Type"), "text/plain")
	for _, bad := range []string{
		`{`, `{"identifier":"ada"}`, `{"requestInformation":"` + token + `"}`,
		`{"requestInformation":"` + token + `","identifier":"ada","interactionDate":"yesterday"}`,
		`{"requestInformation":"` + token + `","identifier":"ada","purposes":{}}`,
		`{"requestInformation":"` + token + `","identifier":"ada","customPayload":{"x":"` + strings.Repeat("y", 4000) + `"}}`,
		`{"requestInformation":"` + token + `","identifier":"ada","purposes":[` + strings.Repeat("{},", 20) + `{}]}`,
	} {
		require.Equal(t, 400, post(bad).status, bad)
	}
	a = post(`{"requestInformation":"` + token + `","identifier":"ada","language":"en","interactionDate":"2026-01-02T03:04:05Z",
		"test":true,"dsDataElements":{"Country":"DE"},"customPayload":{"operation":"op-1"},
		"purposes":[{"Id":"` + pushPurpose + `","TransactionType":"CONFIRMED","Version":3}]}`)
	require.Equal(t, 200, a.status)
	subject := h.profiles("", "identifier", "ada").json(t)["content"].([]any)[0].(map[string]any)
	require.Equal(t, true, subject["TestDataSubject"])
	require.Equal(t, "en", subject["Language"])
	require.Equal(t, []any{map[string]any{"Name": "Country", "Value": "DE", "Linked": false}}, subject["DataElements"])
	purpose := h.purposes("ada")[pushPurpose]
	require.Equal(t, "2026-01-02T03:04:05Z", purpose["LastInteractionDate"])
	require.Equal(t, 3.0, purpose["Version"])
	receipts := h.do("GET", "/_sandbox/customers/ada/receipts", "").json(t)["receipts"].([]any)
	require.Equal(t, map[string]any{"operation": "op-1"}, receipts[0].(map[string]any)["custom_payload"])
}

func TestOneTrustCollectionPointTokenIsStable(t *testing.T) {
	t.Parallel()
	first, second := DefaultConfig().CollectionPointToken(), DefaultConfig().CollectionPointToken()
	require.Equal(t, first, second)
}

func TestOneTrustAccess(t *testing.T) {
	t.Parallel()
	h := start(t)
	const path = "/onetrust/api/consentmanager/v1/datasubjects/profiles"
	a := h.do("GET", path, "")
	require.Equal(t, 401, a.status)
	require.Contains(t, a.header.Get("Content-Type"), "text/plain")
	token := h.accessToken()
	require.Equal(t, 200, h.do("GET", path, "", "Authorization", "Bearer "+token).status)
	require.Equal(t, 401, h.do("GET", path, "", "Authorization", "Bearer "+h.cfg.CollectionPointToken()).status)
	h.clock.advance(time.Hour)
	require.Equal(t, 401, h.do("GET", path, "", "Authorization", "Bearer "+token).status, "it expired")

	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for k, v := range map[string]string{"grant_type": "client_credentials", "client_id": h.cfg.OneTrustClientID, "client_secret": "wrong"} {
		require.NoError(t, w.WriteField(k, v))
	}
	require.NoError(t, w.Close())
	tokenPath := "/onetrust/api/access/v1/oauth/token"
	require.Equal(t, 401, h.do("POST", tokenPath, form.String(), "Content-Type", w.FormDataContentType()).status)
	good := strings.Replace(form.String(), "wrong", h.cfg.OneTrustClientSecret, 1)
	require.Equal(t, 200, h.do("POST", tokenPath, good, "Content-Type", w.FormDataContentType()).status)
	require.Equal(t, 400, h.do("POST", tokenPath, "", "Content-Type", "application/x-www-form-urlencoded").status)
}

func TestOneTrustProfilesArePaged(t *testing.T) {
	t.Parallel()
	h := start(t)
	for i := range 55 {
		h.clock.advance(time.Second)
		h.receipt(fmt.Sprintf("c%02d", i), pushPurpose, "CONFIRMED")
	}
	page := h.profiles("?size=100").json(t)
	require.Equal(t, 50.0, page["size"], "never more than 50")
	require.Len(t, page["content"], 50)
	require.Equal(t, []any{true, false, 55.0, 2.0}, []any{page["first"], page["last"], page["totalElements"], page["totalPages"]})
	page = h.profiles("?size=50&page=1&properties=ignoreCount").json(t)
	require.Len(t, page["content"], 5)
	require.Equal(t, []any{false, true, nil}, []any{page["first"], page["last"], page["totalElements"]})
	require.Len(t, h.profiles("").json(t)["content"], 20)
	since := h.clock.Now().Add(-2 * time.Second).Format(time.RFC3339)
	require.Len(t, h.profiles("?updatedSince=" + since).json(t)["content"], 3)

	a := h.profiles("", "identifier", "nobody")
	require.Equal(t, 200, a.status, "an unknown person is an empty page")
	require.Equal(t, []any{[]any{}, true}, []any{a.json(t)["content"], a.json(t)["empty"]})
	require.Len(t, h.profiles("?identifier=c01").json(t)["content"], 1)
	require.Equal(t, 400, h.profiles("?size=x").status)
}

func TestOneTrustProjectionLags(t *testing.T) {
	t.Parallel()
	h := start(t, delayed(time.Second))
	h.receipt("ada", pushPurpose, "CONFIRMED")
	require.Empty(t, h.purposes("ada"))
	h.clock.advance(time.Second)
	require.Equal(t, "ACTIVE", h.purposes("ada")[pushPurpose]["Status"])
}

func TestOneTrustRateLimitHeaders(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.RateLimits.OneTrust = Rate{Requests: 1, Per: time.Minute} })
	require.Equal(t, 200, h.receipt("ada", pushPurpose, "CONFIRMED").status)
	a := h.receipt("ada", pushPurpose, "CONFIRMED")
	require.Equal(t, 429, a.status)
	require.Equal(t, "60", a.header.Get("Retry-After"))
	require.Equal(t, "MINUTE", a.header.Get("ot-period"))
	require.Equal(t, "1", a.header.Get("ot-requests-allowed"))
	require.Equal(t, "2", a.header.Get("ot-request-made"))
	require.NotEmpty(t, a.header.Get("ot-ratelimit-event-id"))
}
