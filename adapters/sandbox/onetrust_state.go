package sandbox

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// oneTrustState is what OneTrust holds, by identifier.
type oneTrustState struct {
	Subjects map[string]*oneTrustSubject `json:"subjects"`
}

// oneTrustSubject is a data subject: the receipts as they came, and what they add up to.
type oneTrustSubject struct {
	ID           string                      `json:"id"`
	Language     string                      `json:"language"`
	Test         bool                        `json:"test"`
	DataElements map[string]string           `json:"data_elements"`
	Purposes     map[string]*oneTrustPurpose `json:"purposes"` // by purpose id
	Receipts     []oneTrustReceipt           `json:"receipts"` // never changed or removed
	CreatedAt    time.Time                   `json:"created_at"`
	UpdatedAt    time.Time                   `json:"updated_at"`
}

// oneTrustPurpose is the projection of all transactions on one purpose.
type oneTrustPurpose struct {
	Name            string    `json:"name"`
	Status          string    `json:"status"`
	Version         int       `json:"version"`
	Transactions    int       `json:"transactions"`
	LastReceiptID   string    `json:"last_receipt_id"`
	FirstAt         time.Time `json:"first_at"`
	LastAt          time.Time `json:"last_at"`
	ConsentAt       time.Time `json:"consent_at,omitzero"`
	WithdrawalAt    time.Time `json:"withdrawal_at,omitzero"`
	Expiry          string    `json:"expiry,omitempty"`
	Interaction     string    `json:"interaction,omitempty"`
	CollectionPoint string    `json:"collection_point"`
}

// oneTrustReceipt is one accepted receipt with its valid purposes only.
type oneTrustReceipt struct {
	ID              string                  `json:"id"`
	At              time.Time               `json:"at"`
	CollectionPoint string                  `json:"collection_point"`
	Language        string                  `json:"language,omitempty"`
	Interaction     string                  `json:"interaction_date,omitempty"`
	Test            bool                    `json:"test,omitempty"`
	DataElements    map[string]string       `json:"data_elements,omitempty"`
	CustomPayload   json.RawMessage         `json:"custom_payload,omitempty"`
	Purposes        []oneTrustReceiptedItem `json:"purposes"`
}

type oneTrustReceiptedItem struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"transaction_type"`
	Version int    `json:"version,omitempty"`
	Expiry  string `json:"expiry,omitempty"`
}

// oneTrustStatuses maps a transaction to the status it leads to; "" leaves the status as it is.
var oneTrustStatuses = map[string]string{
	"CONFIRMED": "ACTIVE", "WITHDRAWN": "WITHDRAWN", "PENDING": "PENDING", "NOTGIVEN": "NO_CONSENT", "EXPIRED": "EXPIRED",
	"OPT_OUT": "OPT_OUT", "HARD_OPT_OUT": "HARD_OPT_OUT", "OPT_IN": "OPT_IN", "IMPLICIT": "IMPLICIT",
	"EXTEND": "", "NO_CHOICE": "", "CHANGE_PREFERENCES": "", "CANCEL": "",
}

func (o *oneTrustState) index() {
	if o.Subjects == nil {
		o.Subjects = map[string]*oneTrustSubject{}
	}
}

func (o *oneTrustState) make(identifier string, at time.Time) *oneTrustSubject {
	subject := o.Subjects[identifier]
	if subject == nil {
		subject = &oneTrustSubject{
			ID: derivedID("onetrust", identifier, at.String()), CreatedAt: at,
			DataElements: map[string]string{}, Purposes: map[string]*oneTrustPurpose{},
		}
		o.Subjects[identifier] = subject
	}
	return subject
}

// oneTrustRecording appends a receipt. A repeated receipt is a new transaction: nothing is recognised.
type oneTrustRecording struct {
	Identifier string          `json:"identifier"`
	Receipt    oneTrustReceipt `json:"receipt"`
}

func (*oneTrustRecording) kind() string { return "cmp.receipt" }

func (c *oneTrustRecording) apply(st *state, _ *effect) {
	r := c.Receipt
	subject := st.OneTrust.make(c.Identifier, r.At)
	subject.Receipts = append(subject.Receipts, r)
	subject.UpdatedAt = r.At
	subject.Test = subject.Test || r.Test // one way
	if r.Language != "" {
		subject.Language = r.Language
	}
	for name, value := range r.DataElements {
		subject.DataElements[name] = value
	}
	for _, item := range r.Purposes {
		subject.transact(item, r)
	}
}

func (d *oneTrustSubject) transact(item oneTrustReceiptedItem, r oneTrustReceipt) {
	p := d.Purposes[item.ID]
	if p == nil {
		p = &oneTrustPurpose{Status: "NO_CONSENT", FirstAt: r.At, Version: 1}
		d.Purposes[item.ID] = p
	}
	if status := oneTrustStatuses[item.Type]; status != "" {
		p.Status = status
	}
	if item.Version > 0 {
		p.Version = item.Version
	}
	if item.Expiry != "" {
		p.Expiry = item.Expiry
	}
	switch consentOf(p.Status) {
	case consentGranted:
		p.ConsentAt = r.At
	case consentWithdrawn:
		p.WithdrawalAt = r.At
	}
	p.Name, p.Interaction, p.CollectionPoint = item.Name, r.Interaction, r.CollectionPoint
	p.LastReceiptID, p.LastAt = r.ID, r.At
	p.Transactions++
}

// What the control call makes of a status.
const (
	consentGranted   = "granted"
	consentWithdrawn = "withdrawn"
	stateUnknown     = "unknown"
)

func consentOf(status string) string {
	switch status {
	case "ACTIVE", "OPT_IN", "IMPLICIT", "ALWAYS_ACTIVE":
		return consentGranted
	case "WITHDRAWN", "OPT_OUT", "HARD_OPT_OUT":
		return consentWithdrawn
	}
	return stateUnknown // NO_CONSENT, PENDING, EXPIRED: neither given nor taken back
}

// oneTrustSet is the control call: it appends a receipt for what is granted or withdrawn, and forgets what is unknown.
type oneTrustSet struct {
	Identifier string          `json:"identifier"`
	Receipt    oneTrustReceipt `json:"receipt"`
	Forget     []string        `json:"forget,omitempty"` // purpose ids
}

func (*oneTrustSet) kind() string { return "cmp.set" }

func (c *oneTrustSet) apply(st *state, e *effect) {
	if len(c.Receipt.Purposes) > 0 {
		(&oneTrustRecording{c.Identifier, c.Receipt}).apply(st, e)
	}
	subject := st.OneTrust.Subjects[c.Identifier]
	if subject == nil {
		return
	}
	for _, id := range c.Forget {
		delete(subject.Purposes, id)
	}
	if len(subject.Purposes) == 0 {
		delete(st.OneTrust.Subjects, c.Identifier)
	}
}

// oneTrustDeletion takes data subjects away, receipts and all.
type oneTrustDeletion struct {
	Identifiers []string `json:"identifiers"`
}

func (*oneTrustDeletion) kind() string { return "cmp.delete" }

func (d *oneTrustDeletion) apply(st *state, _ *effect) {
	for _, id := range d.Identifiers {
		delete(st.OneTrust.Subjects, id)
	}
}

// oneTrustTime is how OneTrust writes a time; the zero time is null.
func oneTrustTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(receiptTime)
}

func (d *oneTrustSubject) export(identifier string) object {
	elements := []object{}
	for name, value := range d.DataElements {
		elements = append(elements, object{"Name": name, "Value": value, "Linked": false})
	}
	slices.SortFunc(elements, func(a, b object) int { return compareText(a["Name"], b["Name"]) })
	purposes := []object{}
	for id, p := range d.Purposes {
		purposes = append(purposes, p.export(id))
	}
	slices.SortFunc(purposes, func(a, b object) int { return compareText(a["Id"], b["Id"]) })
	return object{
		"Id": d.ID, "Identifier": identifier, "Language": emptyAsNull(d.Language),
		"CreatedDate": oneTrustTime(d.CreatedAt), "LastUpdatedDate": oneTrustTime(d.UpdatedAt),
		"DataElements": elements, "Purposes": purposes, "TestDataSubject": d.Test, "doNotCall": false,
	}
}

func (p *oneTrustPurpose) export(id string) object {
	return object{
		"Id": id, "Name": p.Name, "Version": p.Version, "Status": p.Status,
		"LastReceiptId": p.LastReceiptID, "TotalTransactionCount": p.Transactions,
		"FirstTransactionDate": oneTrustTime(p.FirstAt), "LastTransactionDate": oneTrustTime(p.LastAt),
		"ConsentDate": oneTrustTime(p.ConsentAt), "WithdrawalDate": oneTrustTime(p.WithdrawalAt),
		"ExpiryDate": emptyAsNull(p.Expiry), "ReactivationDate": nil,
		"LastInteractionDate":                   emptyAsNull(p.Interaction),
		"LastTransactionCollectionPointId":      p.CollectionPoint,
		"LastTransactionCollectionPointVersion": 1,
		"Topics":                                []object{}, "CustomPreferences": []object{},
	}
}

// sorted lists the identifiers of all subjects, oldest first.
func (o *oneTrustState) sorted() []string {
	ids := make([]string, 0, len(o.Subjects))
	for id := range o.Subjects {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		if order := o.Subjects[a].CreatedAt.Compare(o.Subjects[b].CreatedAt); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	return ids
}

var _ = registerChange(
	func() change { return &oneTrustRecording{} },
	func() change { return &oneTrustSet{} },
	func() change { return &oneTrustDeletion{} },
)
