package systemtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/auth"
)

// client speaks the two contracts.
type client struct {
	api, sandbox string
	issuer       *auth.DevIssuer
	http         *http.Client
}

func newClient(api, sandbox string, issuer *auth.DevIssuer) client {
	return client{api: api, sandbox: sandbox, issuer: issuer,
		http: &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
}

// answer is an HTTP answer with its JSON body.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) text(path ...string) string {
	s, _ := a.at(path...).(string)
	return s
}

// at walks into the body.
func (a answer) at(path ...string) any { return dig(a.body, path...) }

func dig(v any, path ...string) any {
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

const operatorScopes = "operations:write operations:read audit:read preferences:read"

// as makes a request on behalf of a customer. headers are key, value, key, value …
func (c client) as(t *testing.T, customer, method, path string, body any, headers ...string) answer {
	t.Helper()
	a, err := c.try(customer, "", method, c.api+path, body, headers...)
	require.NoError(t, err)
	return a
}

// persist is as, and again while a grant is refused because Temporal is too busy to start it, as a client does.
func (c client) persist(t *testing.T, customer, method, path string, body any, headers ...string) (a answer) {
	t.Helper()
	eventually(t, time.Minute, func() string {
		if a = c.as(t, customer, method, path, body, headers...); a.status == http.StatusServiceUnavailable {
			return fmt.Sprint(a.body)
		}
		return ""
	})
	return a
}

// asOperator makes a request with an operator's scopes.
func (c client) asOperator(t *testing.T, method, path string, body any) answer {
	t.Helper()
	a, err := c.try("support", operatorScopes, method, c.api+path, body)
	require.NoError(t, err)
	return a
}

func (c client) try(subject, scope, method, url string, body any, headers ...string) (answer, error) {
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, url, in)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if subject != "" {
		token, _, err := c.issuer.Mint(subject, scope)
		if err != nil {
			return answer{}, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	out := answer{status: res.StatusCode, header: res.Header}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			return out, fmt.Errorf("%s %s: %d: not JSON: %.200s", method, url, res.StatusCode, raw)
		}
	}
	return out, nil
}

// control calls the sandbox's control contract.
func (c client) control(t *testing.T, method, path string, body any) answer {
	t.Helper()
	a, err := c.try("", "", method, c.sandbox+"/_sandbox"+path, body)
	require.NoError(t, err)
	require.Less(t, a.status, 300, "%s %s: %v", method, path, a.body)
	return a
}

// vendors is what all vendors hold of a customer.
func (c client) vendors(t *testing.T, customer string) answer {
	t.Helper()
	return c.control(t, http.MethodGet, "/customers/"+url.PathEscape(customer), nil)
}

func (c client) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		for _, url := range []string{c.api + "/readyz", c.sandbox + "/healthz"} {
			a, err := c.try("", "", http.MethodGet, url, nil)
			if err != nil {
				return err.Error()
			}
			if a.status != 200 {
				return fmt.Sprint(a.body)
			}
		}
		return ""
	})
}

// awaitWorker waits until changes come through.
func (c client) awaitWorker(t *testing.T) {
	t.Helper()
	who := customer()
	eventually(t, 60*time.Second, func() string {
		a := c.as(t, who, http.MethodPut, "/v1/devices/phone", map[string]any{"platform": "ios", "token": "token-" + who, "permission": "granted"}, "Prefer", "wait=10")
		if a.status != 200 {
			return fmt.Sprint(a.body)
		}
		return ""
	})
}

// eventually asks until the answer is empty, and fails the test with the last answer otherwise.
func eventually(t *testing.T, limit time.Duration, problem func() string) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		said := problem()
		if said == "" {
			return
		}
		select {
		case <-deadline:
			require.Fail(t, "did not come true in "+limit.String(), said)
		case <-tick.C:
		}
	}
}

var customers atomic.Int64

// customer makes up a customer nobody has heard of.
func customer() string { return fmt.Sprintf("c-%d", customers.Add(1)) }

// registerPhone gives a customer a device that may be pushed to.
func (c client) registerPhone(t *testing.T, customer string) {
	t.Helper()
	eventually(t, 2*time.Minute, func() string { // on a busy machine a short budget may run out
		a := c.as(t, customer, http.MethodPut, "/v1/devices/phone", map[string]any{"platform": "ios", "token": "token-" + customer, "permission": "granted"}, "Prefer", "wait=30")
		if a.status != 200 {
			return fmt.Sprint(a.body)
		}
		return ""
	})
}

func promotions(on bool) map[string]any {
	return map[string]any{"channels": map[string]any{"promotions": map[string]any{"enabled": on}}}
}

// operation reads an operation as its customer.
func (c client) operation(t *testing.T, customer, id string) answer {
	t.Helper()
	a := c.as(t, customer, http.MethodGet, "/v1/operations/"+id, nil)
	require.Equal(t, 200, a.status, a.body)
	return a
}

// awaitStatus waits until the operation has one of the statuses.
func (c client) awaitStatus(t *testing.T, customer, id string, limit time.Duration, statuses ...string) answer {
	t.Helper()
	var last answer
	eventually(t, limit, func() string {
		last = c.operation(t, customer, id)
		for _, s := range statuses {
			if last.text("status") == s {
				return ""
			}
		}
		return fmt.Sprintf("%s is %s at %v", id, last.text("status"), last.at("targets"))
	})
	return last
}

// respondAsync asks for a change without waiting and answers with the operation's id.
func (c client) respondAsync(t *testing.T, customer, method, path string, body any) string {
	t.Helper()
	a := c.persist(t, customer, method, path, body, "Prefer", "respond-async")
	require.Equal(t, 202, a.status, a.body)
	require.Equal(t, "/v1/operations/"+a.text("id"), a.header.Get("Location"))
	return a.text("id")
}
