package onetrust_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/cmp/onetrust"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

const (
	pushID  = "c2b6e9d4-51f7-4f6b-8d0c-7e1a92b3d501"
	emailID = "c2b6e9d4-51f7-4f6b-8d0c-7e1a92b3d502"
)

var (
	push  = preference.Item{Kind: preference.PurposeItem, Key: "push-marketing"}
	email = preference.Item{Kind: preference.PurposeItem, Key: "email-marketing"}
)

func config() onetrust.Config {
	return onetrust.Config{
		Purposes:        map[preference.PurposeID]string{"push-marketing": pushID, "email-marketing": emailID},
		CollectionPoint: "head.claims.mac", IdentifierType: "Customer Id", ClientID: "client", ClientSecret: "s&cret",
		Clock: func() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 7e6, time.FixedZone("", 3600)) },
	}
}

// vendor issues tokens token-1, token-2, … and accepts the newest but for those it has revoked.
type vendor struct {
	mu       sync.Mutex
	issued   int
	life     int // seconds
	revoked  bool
	oauth    int // status of the token call, 0 for 200
	profiles string
	answer   answer // to receipts
	sent     []byte
	asked    *http.Request
}

type answer struct {
	status int
	body   string
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch r.Method + " " + r.URL.Path {
	case "POST /api/access/v1/oauth/token":
		v.issued++
		v.revoked = false
		if v.oauth != 0 || string(body) != "client_id=client&client_secret=s%26cret&grant_type=client_credentials" {
			w.WriteHeader(max(v.oauth, 400))
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"bearer","expires_in":%d}`, v.issued, v.life)
	case "GET /api/consentmanager/v1/datasubjects/profiles":
		v.asked = r
		if v.revoked || r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", v.issued) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "Unauthorized")
			return
		}
		_, _ = io.WriteString(w, v.profiles)
	case "POST /request/v1/consentreceipts":
		v.sent = body
		w.WriteHeader(v.answer.status)
		_, _ = io.WriteString(w, v.answer.body)
	default:
		w.WriteHeader(http.StatusTeapot)
	}
}

func (v *vendor) system(t *testing.T, cfg onetrust.Config) *onetrust.OneTrust {
	t.Helper()
	api := portstest.VendorAPI(preference.CMP, v)
	o, err := onetrust.New(api, api, cfg)
	require.NoError(t, err)
	require.Equal(t, preference.CMP, o.Name())
	return o
}

func purposes(p string) string {
	return `{"content":[{"Id":"x","Identifier":"ada","Purposes":[` + p + `]}],"number":0,"size":50,"last":true}`
}

func TestReadStatuses(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]preference.State{
		"ACTIVE": preference.On, "ALWAYS_ACTIVE": preference.On, "OPT_IN": preference.On, "IMPLICIT": preference.On,
		"EXTEND": preference.On, "NOT_OPT_OUT": preference.On, "Active": preference.On,
		"WITHDRAWN": preference.Off, "OPT_OUT": preference.Off, "HARD_OPT_OUT": preference.Off, "EXPIRED": preference.Off,
		"NO_CONSENT": preference.Unknown, "PENDING": preference.Unknown, "CHANGE_PREFERENCES": preference.Unknown, "NEW_WORD": preference.Unknown, "": preference.Unknown,
	} {
		v := &vendor{life: 3600, profiles: purposes(`{"Id":"` + pushID + `","Version":1,"Status":"` + status + `"}`)}
		got, err := v.system(t, config()).Read(t.Context(), "ada")
		require.NoError(t, err)
		require.Equal(t, want, got.State(push), status)
		if want == preference.Unknown {
			require.Empty(t, got, status)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	purpose := func(id string, version int, status string) string {
		return fmt.Sprintf(`{"Id":%q,"Version":%d,"Status":%q}`, id, version, status)
	}
	for name, test := range map[string]struct {
		profiles string
		want     preference.Holding
	}{
		"nobody":                   {`{"content":[],"empty":true}`, preference.Holding{}},
		"both, and one not ours":   {purposes(purpose(pushID, 1, "ACTIVE") + "," + purpose(strings.ToUpper(emailID), 1, "WITHDRAWN") + "," + purpose("other", 1, "ACTIVE")), preference.Holding{push: preference.On, email: preference.Off}},
		"the newest version":       {purposes(purpose(pushID, 2, "ACTIVE") + "," + purpose(pushID, 1, "WITHDRAWN")), preference.Holding{push: preference.On}},
		"newest version undecided": {purposes(purpose(pushID, 1, "ACTIVE") + "," + purpose(pushID, 2, "PENDING")), preference.Holding{}},
		"twice, on last":           {purposes(purpose(pushID, 1, "WITHDRAWN") + "," + purpose(pushID, 1, "ACTIVE")), preference.Holding{push: preference.Off}},
		"twice, off last":          {purposes(purpose(pushID, 1, "ACTIVE") + "," + purpose(pushID, 1, "WITHDRAWN")), preference.Holding{push: preference.Off}},
		"somebody else":            {strings.ReplaceAll(purposes(purpose(pushID, 1, "ACTIVE")), `"ada"`, `"adam"`), preference.Holding{}},
		"another case":             {strings.ReplaceAll(purposes(purpose(pushID, 1, "ACTIVE")), `"ada"`, `"ADA"`), preference.Holding{push: preference.On}},
	} {
		v := &vendor{life: 3600, profiles: test.profiles}
		got, err := v.system(t, config()).Read(t.Context(), "ada")
		require.NoError(t, err, name)
		require.Equal(t, test.want, got, name)
		require.Equal(t, "ada", v.asked.Header.Get("identifier"))
		require.Equal(t, "ignoreCount", v.asked.URL.Query().Get("properties"))
		require.Empty(t, v.asked.URL.Query().Get("identifier"), "addresses end up in logs")
	}
}

func TestWriteIsOneReceipt(t *testing.T) {
	t.Parallel()
	for state, word := range map[preference.State]string{
		preference.On: "CONFIRMED", preference.Off: "WITHDRAWN", preference.Unknown: "NOTGIVEN", preference.Neutral: "NOTGIVEN",
	} {
		v := &vendor{answer: answer{200, `{"receipt":"a.b.c"}`}}
		require.NoError(t, v.system(t, config()).Write(t.Context(), ports.TargetWrite{Customer: "ada", Operation: "op-1", Set: preference.Holding{push: state}}))
		require.JSONEq(t, `{"requestInformation":"head.claims.mac","identifier":"ada","identifierType":"Customer Id",
			"interactionDate":"2026-11-22T09:00:00.007Z","customPayload":{"accord_operation":"op-1"},
			"purposes":[{"Id":"`+pushID+`","TransactionType":"`+word+`"}]}`, string(v.sent))
		require.Zero(t, v.issued, "a receipt needs no access token")
	}
}

func TestWriteAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer    answer
		class     ports.TargetErrorClass
		maybeDone bool
	}{
		"no receipt":  {answer{200, `{}`}, ports.Transient, true},
		"cut off":     {answer{200, `{"rec`}, ports.Transient, true},
		"bad request": {answer{400, `{"message":"no"}`}, ports.Refused, false},
		"plain text":  {answer{404, `not here`}, ports.Refused, false},
		"outage":      {answer{500, ``}, ports.Transient, true},
	} {
		v := &vendor{answer: test.answer}
		failure, is := ports.AsTargetError(v.system(t, config()).Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{push: preference.On}}))
		require.True(t, is, name)
		require.Equal(t, test.class, failure.Class, name)
		require.Equal(t, test.maybeDone, failure.MaybeDone, name)
	}
}

func TestUnmappedItemsAreRefusedUnsent(t *testing.T) {
	t.Parallel()
	for _, item := range []preference.Item{{Kind: preference.PurposeItem, Key: "unheard-of"}, {Kind: preference.ChannelItem, Key: "push-marketing"}} {
		v := &vendor{}
		failure, is := ports.AsTargetError(v.system(t, config()).Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{push: preference.On, item: preference.On}}))
		require.True(t, is)
		require.Equal(t, ports.Refused, failure.Class)
		require.Nil(t, v.sent)
	}
}

func TestAccessTokenIsKeptAndRenewed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cfg := config()
	cfg.Clock = func() time.Time { return now }
	v := &vendor{life: 3600, profiles: purposes("")}
	o := v.system(t, cfg)
	read := func(wantIssued int) {
		t.Helper()
		_, err := o.Read(t.Context(), "ada")
		require.NoError(t, err)
		require.Equal(t, wantIssued, v.issued)
	}
	read(1)
	now = now.Add(58 * time.Minute)
	read(1)
	now = now.Add(90 * time.Second) // a minute before its end it is not used any more
	read(2)
	v.revoked = true
	read(3)
	v.life = 60
	now = now.Add(time.Hour)
	read(4)
	now = now.Add(29 * time.Second) // one that lives a minute is used for half of it
	read(4)
	now = now.Add(2 * time.Second)
	read(5)
}

func TestManyReadersFetchOneAccessToken(t *testing.T) {
	t.Parallel()
	v := &vendor{life: 3600, profiles: purposes("")}
	o := v.system(t, config())
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			if _, err := o.Read(context.WithoutCancel(t.Context()), "ada"); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	require.Equal(t, 1, v.issued)
}

func TestRevokedForGood(t *testing.T) {
	t.Parallel()
	v := &vendor{life: 3600}
	always401 := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.ServeHTTP(w, r)
		v.revoked = true
	})
	api := portstest.VendorAPI(preference.CMP, always401)
	o, err := onetrust.New(api, api, config())
	require.NoError(t, err)
	_, err = o.Read(t.Context(), "ada")
	failure, is := ports.AsTargetError(err)
	require.True(t, is)
	require.Equal(t, 401, failure.Status)
	require.Equal(t, 2, v.issued, "it asks for a new token once, not for ever")
}

func TestRefusedClientIsOurProblem(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403} {
		v := &vendor{oauth: status}
		_, err := v.system(t, config()).Read(t.Context(), "ada")
		failure, is := ports.AsTargetError(err)
		require.True(t, is)
		require.Equal(t, ports.Transient, failure.Class)
		require.Equal(t, "credentials", failure.Code)
		require.NotContains(t, failure.Error(), "cret")
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := onetrust.New(nil, nil, onetrust.Config{Purposes: map[preference.PurposeID]string{"push-marketing": "{" + pushID + "}", "email-marketing": "7"}})
	for _, problem := range []string{"CollectionPoint", "IdentifierType", "ClientID", "ClientSecret", "push-marketing", "email-marketing"} {
		require.ErrorContains(t, err, problem)
	}
	cfg := config()
	cfg.Purposes["twice"] = strings.ToUpper(pushID)
	_, err = onetrust.New(nil, nil, cfg)
	require.ErrorContains(t, err, "same id")
	cfg.Purposes = map[preference.PurposeID]string{}
	for n := range 21 {
		cfg.Purposes[preference.PurposeID(fmt.Sprint("p", n))] = fmt.Sprintf("c2b6e9d4-51f7-4f6b-8d0c-7e1a92b3d5%02d", n)
	}
	_, err = onetrust.New(nil, nil, cfg)
	require.ErrorContains(t, err, "at most 20")
}
