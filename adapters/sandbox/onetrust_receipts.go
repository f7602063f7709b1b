package sandbox

import (
	"bytes"
	"encoding/json"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"
)

const (
	oneTrustMaxPurposes = 20
	oneTrustMaxPayload  = 4000 // characters of customPayload
)

// collectionPoint is what a collection point's token says.
type collectionPoint struct {
	Version                int                      `json:"otJwtVersion"`
	ProcessID              string                   `json:"processId"`
	ProcessVersion         int                      `json:"processVersion"`
	IssuedAt               string                   `json:"iat"`
	Method                 string                   `json:"moc"`
	IdentifierType         string                   `json:"sub"`
	TenantID               string                   `json:"tenantId"`
	ConsentType            string                   `json:"consentType"`
	DoubleOptIn            bool                     `json:"doubleOptIn"`
	AllowNotGivenConsents  bool                     `json:"allowNotGivenConsents"`
	AuthenticationRequired bool                     `json:"authenticationRequired"`
	OverrideActivePurpose  bool                     `json:"overrideActivePurpose"`
	ReconfirmActivePurpose bool                     `json:"reconfirmActivePurpose"`
	Purposes               []collectionPointPurpose `json:"purposes"`
}

type collectionPointPurpose struct {
	ID                string   `json:"id"`
	Version           int      `json:"version"`
	Topics            []string `json:"topics"`
	CustomPreferences []string `json:"customPreferences"`
}

// CollectionPointToken returns the requestInformation a client of this configuration's OneTrust sends with each consent
// receipt. It is the same on every call and after every restart, as long as the configuration is.
func (c Config) CollectionPointToken() string {
	point := collectionPoint{
		Version: 1, ProcessID: c.CollectionPointID, ProcessVersion: 1, IssuedAt: "2026-01-01T00:00:00Z", Method: "API",
		IdentifierType: "Customer Id", TenantID: derivedID("tenant", c.CollectionPointID),
		ConsentType: "CONDITIONALTRIGGER", AllowNotGivenConsents: true, OverrideActivePurpose: true,
		ReconfirmActivePurpose: true,
	}
	for _, p := range c.Purposes {
		point.Purposes = append(point.Purposes, collectionPointPurpose{
			ID: p.OneTrustID, Version: 1, Topics: []string{}, CustomPreferences: []string{},
		})
	}
	return signJWT(c.CollectionPointSecret, point)
}

// oneTrustReceive takes a consent receipt. It checks the frame only: purposes it cannot use — an unknown id, a wrong
// TransactionType, a field that is not in PascalCase — are dropped without a word, and so is a receipt of nothing else.
func oneTrustReceive(s *Sandbox, c *call) reply {
	identifier := c.text("identifier")
	items := c.objects("purposes")
	receipt := oneTrustReceipt{
		ID: newID(), Language: c.text("language"), Interaction: c.text("interactionDate"), Purposes: []oneTrustReceiptedItem{},
		DataElements: map[string]string{},
	}
	switch {
	case c.text("requestInformation") == "":
		return oneTrustFail(http.StatusBadRequest, "requestInformation is required")
	case identifier == "":
		return oneTrustFail(http.StatusBadRequest, "identifier is required")
	}
	var point collectionPoint
	if verifyJWT(s.cfg.CollectionPointSecret, c.text("requestInformation"), &point) != nil || point.ProcessID != s.cfg.CollectionPointID {
		return oneTrustFail(http.StatusUnauthorized, "Invalid collection point token")
	}
	receipt.CollectionPoint = point.ProcessID
	if problem := receipt.parse(c, len(items)); problem != "" {
		return oneTrustFail(http.StatusBadRequest, problem)
	}
	for _, item := range items {
		if parsed, valid := oneTrustParsePurpose(s.cfg, item); valid {
			receipt.Purposes = append(receipt.Purposes, parsed)
		}
	}
	return s.update(func(tx *writer) reply {
		receipt.At = tx.now
		if len(items) == 0 || len(receipt.Purposes) > 0 {
			recording := &oneTrustRecording{identifier, receipt}
			if tx.write(tx.async(targetCMP, []string{identifier}, recording)) != nil {
				return oneTrustFail(http.StatusInternalServerError, "Internal server error")
			}
		}
		return ok(object{"receipt": signJWT(s.cfg.CollectionPointSecret, oneTrustReceiptClaims(receipt, identifier))})
	})
}

// parse reads the optional fields; the text says which is wrong.
func (r *oneTrustReceipt) parse(c *call, purposes int) string {
	if raw := c.object["test"]; present(raw) && json.Unmarshal(raw, &r.Test) != nil {
		return "test is not valid"
	}
	if raw := c.object["interactionDate"]; present(raw) {
		if _, err := time.Parse(time.RFC3339, r.Interaction); err != nil {
			return "interactionDate is not valid"
		}
	}
	if raw := c.object["purposes"]; present(raw) && bytes.TrimSpace(raw)[0] != '[' {
		return "purposes is not valid"
	}
	if purposes > oneTrustMaxPurposes {
		return "too many purposes"
	}
	if raw := c.object["dsDataElements"]; present(raw) && json.Unmarshal(raw, &r.DataElements) != nil {
		return "dsDataElements is not valid"
	}
	if raw := c.object["customPayload"]; present(raw) {
		if objectOf(raw) == nil || utf8.RuneCount(raw) > oneTrustMaxPayload {
			return "customPayload is not valid or too long"
		}
		r.CustomPayload = raw
	}
	return ""
}

func oneTrustParsePurpose(cfg Config, item map[string]json.RawMessage) (oneTrustReceiptedItem, bool) {
	out := oneTrustReceiptedItem{
		ID: textOf(item["Id"]), Type: textOf(item["TransactionType"]), Expiry: textOf(item["ExpiryDate"]),
	}
	purpose, known := cfg.purpose(func(p Purpose) bool { return p.OneTrustID == out.ID })
	_, validType := oneTrustStatuses[out.Type]
	if raw := item["Version"]; present(raw) && json.Unmarshal(raw, &out.Version) != nil {
		return out, false
	}
	out.Name = purpose.Name
	return out, known && validType
}

// oneTrustReceiptClaims are what the receipt says to its holder. It is given also for what was dropped.
func oneTrustReceiptClaims(r oneTrustReceipt, identifier string) object {
	purposes := []object{}
	for _, p := range r.Purposes {
		purposes = append(purposes, object{"id": p.ID, "type": p.Type})
	}
	return object{
		"otJwtVersion": 1, "jti": r.ID, "iat": r.At.Unix(), "moc": "API", "processId": r.CollectionPoint, "sub": identifier,
		"purposes": purposes, "interactionDate": emptyAsNull(r.Interaction),
	}
}

// oneTrustForm reads the token call's fields, which OneTrust takes as multipart form or URL-encoded.
func oneTrustForm(c *call) (func(string) string, error) {
	kind, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	if kind == "multipart/form-data" {
		form, err := multipart.NewReader(bytes.NewReader(c.body), params["boundary"]).ReadForm(maxBody)
		if err != nil {
			return nil, err
		}
		return url.Values(form.Value).Get, nil
	}
	values, err := url.ParseQuery(string(c.body))
	if err != nil {
		return nil, err
	}
	return values.Get, nil
}
