// Package onetrust keeps a customer's consents in OneTrust: a purpose of ours is a OneTrust purpose, the data subject's
// identifier is the customer. Consents are never changed there, only followed by another transaction, so writing twice
// is harmless but visible; each receipt carries the operation it belongs to.
//
// OneTrust accepts a receipt with bad values and drops them without a word, so everything is checked here first, and the
// caller reads back.
package onetrust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"accord/domain/preference"
	"accord/ports"
)

// Config of OneTrust.
type Config struct {
	// Purposes holds the id (a UUID) of each purpose. Both must be unique and not empty.
	Purposes map[preference.PurposeID]string
	// CollectionPoint is the collection point's token, sent as requestInformation. It must list all of Purposes and
	// allow consents not given. IdentifierType is that collection point's name for what identifies a person.
	CollectionPoint string
	IdentifierType  string
	// ClientID and ClientSecret are exchanged for the access tokens that reading needs.
	ClientID     string
	ClientSecret string
	Clock        func() time.Time // default time.Now
}

// maxPurposes is OneTrust's limit for one receipt.
const maxPurposes = 20

// OneTrust implements ports.TargetSystem. It is safe for concurrent use.
type OneTrust struct {
	management ports.VendorAPI
	receipts   ports.VendorAPI
	cfg        Config
	ours       map[string]preference.PurposeID // by OneTrust's id, in lower case
	access     *accessTokens
}

var _ ports.TargetSystem = (*OneTrust)(nil)

// New speaks through two APIs, since OneTrust takes receipts at another host (the privacy portal) than the one it
// manages them at; where it is one, give the same twice. Neither adds credentials of its own: a receipt carries the
// collection point's token, and reading uses access tokens, which are fetched through management when needed.
func New(management, receipts ports.VendorAPI, cfg Config) (*OneTrust, error) {
	o := &OneTrust{management: management, receipts: receipts, cfg: cfg, ours: map[string]preference.PurposeID{}}
	var problems []error
	for name, value := range map[string]string{
		"CollectionPoint": cfg.CollectionPoint, "IdentifierType": cfg.IdentifierType,
		"ClientID": cfg.ClientID, "ClientSecret": cfg.ClientSecret,
	} {
		if value == "" {
			problems = append(problems, fmt.Errorf("%s is required", name))
		}
	}
	if len(cfg.Purposes) > maxPurposes {
		problems = append(problems, fmt.Errorf("a receipt takes at most %d purposes", maxPurposes))
	}
	for purpose, id := range cfg.Purposes {
		if uuid.Validate(id) != nil || len(id) != 36 || purpose == "" { // Validate takes longer spellings too
			problems = append(problems, fmt.Errorf("purpose %q needs a name and a UUID", purpose))
		}
		if other, twice := o.ours[strings.ToLower(id)]; twice {
			problems = append(problems, fmt.Errorf("purposes %q and %q have the same id", purpose, other))
		}
		o.ours[strings.ToLower(id)] = purpose
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("onetrust: %w", errors.Join(problems...))
	}
	if o.cfg.Clock == nil {
		o.cfg.Clock = time.Now
	}
	o.access = newAccessTokens(management, cfg.ClientID, cfg.ClientSecret, o.cfg.Clock)
	return o, nil
}

// Name is preference.CMP.
func (*OneTrust) Name() preference.Target { return preference.CMP }

// Read answers the purposes the customer has decided on.
func (o *OneTrust) Read(ctx context.Context, customer preference.CustomerID) (preference.Holding, error) {
	var page profilesPage
	if err := o.getProfiles(ctx, customer, &page); err != nil {
		return nil, err
	}
	return page.holding(customer, o.ours), nil
}

// Forget deletes the data subject with receipts and transactions, which OneTrust does some time after it has answered.
func (o *OneTrust) Forget(ctx context.Context, customer preference.CustomerID) error {
	return o.manage(ctx, ports.VendorCall{
		Name: "datasubjects.delete", Method: http.MethodDelete, Path: "/api/consentmanager/v2/datasubjects", Write: true,
		In: map[string][]string{"identifiers": {string(customer)}},
	})
}

func (o *OneTrust) getProfiles(ctx context.Context, customer preference.CustomerID, page *profilesPage) error {
	return o.manage(ctx, ports.VendorCall{
		Name: "datasubjects.profiles", Method: http.MethodGet, Path: "/api/consentmanager/v1/datasubjects/profiles", Out: page,
		Query:  map[string][]string{"properties": {"ignoreCount"}, "size": {"50"}},
		Header: map[string]string{"identifier": string(customer)},
	})
}

// manage asks once more with a new access token when the one in use is not accepted any more: it may have been revoked
// before its time. What the second answer says, holds.
func (o *OneTrust) manage(ctx context.Context, call ports.VendorCall) error {
	call.Expect = []int{http.StatusUnauthorized}
	header := call.Header
	for {
		token, err := o.access.get(ctx)
		if err != nil {
			return err
		}
		call.Header = map[string]string{"Authorization": "Bearer " + token}
		maps.Copy(call.Header, header)
		answer, err := o.management.Call(ctx, call)
		if err != nil || answer.Status != http.StatusUnauthorized {
			return err
		}
		o.access.forget(ctx, token)
		call.Expect = nil // a second 401 is a failure, so this loop ends
	}
}

// Write appends one receipt with every purpose of w.Set. Unknown and Neutral are written as "not given", the nearest
// thing to no record that can be written.
func (o *OneTrust) Write(ctx context.Context, w ports.TargetWrite) error {
	if len(w.Set) == 0 {
		return nil
	}
	purposes, err := o.transactions(w.Set)
	if err != nil {
		return err
	}
	var answer struct {
		Receipt string `json:"receipt"`
	}
	got, err := o.receipts.Call(ctx, ports.VendorCall{
		Name: "consentreceipts.create", Method: http.MethodPost, Path: "/request/v1/consentreceipts", Write: true, Out: &answer,
		In: receipt{
			RequestInformation: o.cfg.CollectionPoint,
			Identifier:         string(w.Customer),
			IdentifierType:     o.cfg.IdentifierType,
			InteractionDate:    o.cfg.Clock().UTC().Format(timeLayout),
			CustomPayload:      map[string]string{"accord_operation": w.Operation},
			Purposes:           purposes,
		},
	})
	if err != nil {
		return err
	}
	if answer.Receipt == "" { // without a receipt we do not know that there is one
		return &ports.TargetError{Target: preference.CMP, Class: ports.Transient, Code: "malformed", Status: got.Status, MaybeDone: true}
	}
	return nil
}

func (o *OneTrust) transactions(set preference.Holding) ([]transaction, error) {
	out := make([]transaction, 0, len(set))
	for item, state := range set {
		id, mapped := o.cfg.Purposes[preference.PurposeID(item.Key)]
		if item.Kind != preference.PurposeItem || !mapped {
			return nil, &ports.TargetError{Target: preference.CMP, Class: ports.Refused, Code: "unmapped_item"}
		}
		out = append(out, transaction{id, transactionType(state)})
	}
	return out, nil
}
