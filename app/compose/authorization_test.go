package compose

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

// operation is one of the contract, with what it says about who may call it. It is read here once more, apart from the code
// that obeys it.
type operation struct {
	id, method, path string
	who              string // anyone, anyone-or-customer, customer, customer-or-service, service
	scopes           []string
	cursor, streams  bool
}

func (in *installed) contract() []operation {
	in.t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(in.ask("GET", "/openapi.yaml", "", "").body))
	require.NoError(in.t, err)
	var out []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o := operation{id: op.OperationID, method: method, path: path, who: "customer"}
			if op.Security != nil && len(*op.Security) == 0 {
				o.who = "anyone"
			}
			if named, ok := op.Extensions["x-access"].(string); ok {
				o.who = named
			}
			listed, _ := op.Extensions["x-scopes"].([]any)
			for _, s := range listed {
				o.scopes = append(o.scopes, fmt.Sprint(s))
			}
			o.cursor = op.Parameters.GetByInAndName("query", "cursor") != nil
			if ok := op.Responses.Status(http.StatusOK); ok != nil {
				o.streams = ok.Value.Content.Get("text/event-stream") != nil
			}
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b operation) int { return cmp.Compare(a.path+a.method, b.path+b.method) })
	return out
}

// caller is somebody, with the customer that they are, if any.
type caller struct {
	name     string
	auth     string
	customer preference.CustomerID
	scope    string
	bad      bool // the credentials are none
}

func (in *installed) callers(ops []operation) []caller {
	scopes := map[string]bool{}
	for _, o := range ops {
		for _, s := range o.scopes {
			scopes[s] = true
		}
	}
	good := in.token(string(ada), "")
	out := []caller{
		{name: "nobody"},
		{name: "ada", auth: "Bearer " + good, customer: ada},
		{name: "grace", auth: "Bearer " + in.token(string(grace), ""), customer: grace},
		{name: "a service without a scope", auth: "Bearer " + in.token("app", "")},
		{name: "a service with a scope nobody knows", auth: "Bearer " + in.token("app", "everything:write"), scope: "everything:write"},
		{name: "an expired token", bad: true, auth: "Bearer " + in.token(string(ada), "", func(b *jwt.Builder) *jwt.Builder { return b.Expiration(time.Now().Add(-time.Hour)) })},
		{name: "a token of another issuer", bad: true, auth: "Bearer " + in.token(string(ada), "", func(b *jwt.Builder) *jwt.Builder { return b.Issuer("https://elsewhere.example.test") })},
		{name: "a token for another audience", bad: true, auth: "Bearer " + in.token(string(ada), "", func(b *jwt.Builder) *jwt.Builder { return b.Audience([]string{"elsewhere"}) })},
		{name: "a token with one letter changed", bad: true, auth: "Bearer " + garbled(good)},
		{name: "a token without its signature", bad: true, auth: "Bearer " + good[:strings.LastIndexByte(good, '.')+1]},
		{name: "no token at all", bad: true, auth: "Bearer"},
		{name: "a password", bad: true, auth: "Basic YWRhOmFkYQ=="},
	}
	for _, s := range slices.Sorted(maps.Keys(scopes)) {
		out = append(out, caller{name: "a service with " + s, auth: "Bearer " + in.token("app", s), scope: s})
	}
	return out
}

// garbled changes a letter in the middle of the signature.
func garbled(token string) string {
	at := strings.LastIndexByte(token, '.') + 20
	other := byte('A')
	if token[at] == other {
		other = 'B'
	}
	return token[:at] + string(other) + token[at+1:]
}

// status that the contract demands; 0 for being let in.
func (o operation) status(c caller) int {
	customers := o.who == "customer" || o.who == "customer-or-service" || o.who == "anyone-or-customer"
	switch {
	case o.who == "anyone":
		return 0
	case c.bad, c.auth == "" && o.who != "anyone-or-customer":
		return http.StatusUnauthorized
	case c.auth == "", c.customer != "" && customers, slices.Contains(o.scopes, c.scope) && c.scope != "":
		return 0
	}
	return http.StatusForbidden
}

func (in *installed) build(o operation, how call, owner preference.CustomerID) (target, body string, made map[string]string) {
	in.t.Helper()
	target, made = in.fill(how.target, owner)
	body, more := in.fill(how.body, owner)
	for noun, name := range more {
		if of, both := made[noun]; both { // one thing, named in the path and in the body
			body = strings.ReplaceAll(body, name, of)
			continue
		}
		made[noun] = name
	}
	return target, body, made
}

func (in *installed) as(c caller, o operation, target, body string, headers []string) said {
	in.t.Helper()
	method := o.method
	if o.streams {
		method = http.MethodHead
	}
	if c.customer == "" && o.who == "anyone-or-customer" {
		headers = append(slices.Clone(headers), "Accord-Installation-Id: "+uuid.NewString())
	}
	got := in.ask(method, target, body, c.auth, headers...)
	if c.customer != "" {
		in.settle(c.customer)
	}
	return got
}

// TestEveryOperationLetsInWhomTheContractNames, and nobody else. To see it fail, take the authenticate middleware out, or
// x-access off an operation.
func TestEveryOperationLetsInWhomTheContractNames(t *testing.T) {
	t.Parallel()
	in := install(t, nil)
	ops := in.contract()
	seen := map[string]bool{}
	for _, o := range ops {
		how, known := calls[o.id]
		if !known {
			t.Errorf("%s (%s %s) is new in the contract: say in authorization_calls_test.go how to call it, and what of its ids is one customer's", o.id, o.method, o.path)
			continue
		}
		require.Equal(t, segments(o.path), segments(how.target), "%s: the call is not to the contract's path %s", o.id, o.path)
		seen[o.id] = true
		for _, c := range in.callers(ops) {
			owner := c.customer
			if owner == "" && o.who != "anyone-or-customer" {
				owner = ada // whom a service asks about
			}
			target, body, _ := in.build(o, how, owner)
			got := in.as(c, o, target, body, how.headers)
			want := cmp.Or(o.status(c), how.ok, http.StatusOK)
			if how.perItem && c.auth == "" {
				want = http.StatusOK
			}
			require.Equal(t, want, got.status, "%s %s (%s) as %s: %s", o.method, target, o.id, c.name, got.body)
			if c.customer != ada && (o.status(c) != 0 || c.scope == "") {
				require.NotContains(t, got.body, secret, "%s as %s", o.id, c.name)
			}
			if got.status == http.StatusUnauthorized || (got.status == http.StatusForbidden && o.who == "service") {
				require.NotEmpty(t, got.header.Get("WWW-Authenticate"), "%s as %s", o.id, c.name)
			}
		}
	}
	for id := range calls {
		require.True(t, seen[id], "%s is not in the contract any more", id)
	}
}

// segments of a path with its variables made alike.
func segments(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// TestWhatIsSomebodyElsesLooksLikeWhatDoesNotExist for every operation that names something of a customer's, to everybody
// who may call it for themselves; and to those who may not, nothing depends on whether it exists.
func TestWhatIsSomebodyElsesLooksLikeWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	in := install(t, nil)
	ops := in.contract()
	held := 0
	for _, o := range ops {
		how := calls[o.id]
		named := slices.DeleteFunc(slices.Clone(customersOwn), func(noun string) bool { return !strings.Contains(how.target+how.body, noun) })
		if len(named) == 0 || how.ownName {
			continue
		}
		for _, c := range in.callers(ops) {
			if c.customer == ada || (c.scope != "" && o.status(c) == 0) {
				continue // hers, and services that may see it
			}
			_, _, hers := in.build(o, how, ada)
			before := in.holdings(ada)
			foreign := in.as(c, o, put(how.target, hers), put(how.body, hers), how.headers)
			require.Equal(t, before, in.holdings(ada), "%s as %s has changed what ada has", o.id, c.name)
			theirs := maps.Clone(hers)
			for _, noun := range named {
				theirs[noun] = unknown(noun)
			}
			nothing := in.as(c, o, put(how.target, theirs), put(how.body, theirs), how.headers)

			want := cmp.Or(o.status(c), http.StatusNotFound)
			if how.perItem {
				want = cmp.Or(o.status(c), how.ok, http.StatusOK)
			}
			require.Equal(t, want, foreign.status, "%s, ada's, as %s: %s", o.id, c.name, foreign.body)
			require.Equal(t, foreign.status, nothing.status, "%s as %s", o.id, c.name)
			require.Equal(t, anonymised(foreign.body, hers), anonymised(nothing.body, theirs), "%s as %s", o.id, c.name)
			require.NotContains(t, foreign.body, secret)
			held++
		}
	}
	require.Greater(t, held, 50, "the test has found next to nothing to look at")
}

// anonymised is a body without the names that were made, and without when it was answered: one call comes after the other.
func anonymised(body string, made map[string]string) string {
	for noun, name := range made {
		body = strings.ReplaceAll(body, name, noun)
	}
	return freshness.ReplaceAllString(body, "")
}

var freshness = regexp.MustCompile(`"(as_of|fresh_until)":"[^"]*"`)

// holdings is all that a customer has, as she sees it.
func (in *installed) holdings(c preference.CustomerID) []string {
	var out []string
	for _, target := range []string{"/v1/preferences", "/v1/preferences/audit?limit=1", "/v1/inbox/counts"} {
		got := in.ask("GET", target, "", "Bearer "+in.token(string(c), ""))
		require.Equal(in.t, http.StatusOK, got.status)
		body, _, _ := strings.Cut(got.body, `"freshness"`)
		out = append(out, body)
	}
	return out
}

// TestACursorOpensNobodyElsesList: what it points into is the caller's own list, or it is refused.
func TestACursorOpensNobodyElsesList(t *testing.T) {
	t.Parallel()
	in := install(t, nil)
	for range 3 {
		in.message(ada)
		in.operation(ada)
	}
	mine := "Bearer " + in.token(string(ada), "")
	hers := "Bearer " + in.token(string(grace), "")
	held := 0
	for _, o := range in.contract() {
		if !o.cursor || o.who == "service" {
			continue
		}
		path, _, _ := strings.Cut(calls[o.id].target, "?")
		first := in.ask(o.method, path+"?limit=1", "", mine)
		require.Contains(t, first.body, secret, o.id)
		_, cursor, found := strings.Cut(first.body, `"next_cursor":"`)
		require.True(t, found, "%s: %s", o.id, first.body)
		cursor, _, _ = strings.Cut(cursor, `"`)
		require.Contains(t, in.ask(o.method, path+"?limit=1&cursor="+cursor, "", mine).body, secret, o.id)
		for _, auth := range []string{hers, ""} {
			if auth == "" && o.who != "anyone-or-customer" {
				continue
			}
			got := in.ask(o.method, path+"?limit=1&cursor="+cursor, "", auth)
			require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, got.status, "%s: %s", o.id, got.body)
			require.NotContains(t, got.body, secret, o.id)
			held++
		}
	}
	require.GreaterOrEqual(t, held, 3)
}
