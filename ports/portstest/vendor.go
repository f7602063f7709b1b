package portstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"accord/domain/preference"
	"accord/ports"
)

// VendorAPI speaks to a vendor that is a handler: requests and answers are real HTTP messages, but there is no network
// and no policy beyond the least the port asks for: a 4xx that is not expected is Refused, any other failure Transient.
func VendorAPI(target preference.Target, vendor http.Handler) ports.VendorAPI {
	return handlerAPI{target, vendor}
}

type handlerAPI struct {
	target preference.Target
	vendor http.Handler
}

func (a handlerAPI) Call(ctx context.Context, c ports.VendorCall) (ports.VendorAnswer, error) {
	if err := ctx.Err(); err != nil {
		return ports.VendorAnswer{}, err
	}
	req, err := newRequest(ctx, c)
	if err != nil {
		return ports.VendorAnswer{}, fmt.Errorf("the adapter made a call that cannot be sent: %w", err)
	}
	rec := httptest.NewRecorder()
	a.vendor.ServeHTTP(rec, req)
	answer := ports.VendorAnswer{Status: rec.Code, Header: rec.Header()}
	failure := &ports.TargetError{Target: a.target, Class: ports.Transient, Code: "server_error", Status: rec.Code, MaybeDone: c.Write}
	switch {
	case rec.Code/100 == 2:
		if c.Out == nil {
			return answer, nil
		}
		if err := json.Unmarshal(rec.Body.Bytes(), c.Out); err != nil {
			failure.Code, failure.Err = "malformed", err
			return answer, failure
		}
		return answer, nil
	case slices.Contains(c.Expect, rec.Code):
		if c.Declined != nil {
			_ = json.Unmarshal(rec.Body.Bytes(), c.Declined)
		}
		return answer, nil
	case rec.Code/100 == 4:
		failure.Class, failure.Code, failure.MaybeDone = ports.Refused, "refused", false
	}
	return answer, failure
}

func newRequest(ctx context.Context, c ports.VendorCall) (*http.Request, error) {
	var body io.Reader = http.NoBody
	contentType := ""
	switch {
	case c.Form != nil:
		form := url.Values{}
		for name, value := range c.Form {
			form.Set(name, value)
		}
		body, contentType = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	case c.In != nil:
		raw, err := json.Marshal(c.In)
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(raw), "application/json"
	}
	address := "http://vendor.example" + c.Path
	if len(c.Query) > 0 {
		address += "?" + url.Values(c.Query).Encode()
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, address, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, value := range c.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}
