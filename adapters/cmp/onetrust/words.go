package onetrust

import (
	"slices"
	"strings"

	"accord/domain/preference"
)

// timeLayout is RFC 3339 in UTC with milliseconds, as OneTrust writes its own times.
const timeLayout = "2006-01-02T15:04:05.000Z"

func transactionType(s preference.State) string {
	switch s {
	case preference.On:
		return "CONFIRMED"
	case preference.Off:
		return "WITHDRAWN"
	default:
		return "NOTGIVEN"
	}
}

// statuses are OneTrust's words for what it holds. Not listed, and therefore not heard of: NO_CONSENT, PENDING (a double
// opt-in that is not confirmed), CHANGE_PREFERENCES (about options, not about the consent), and what is new to us: we
// do not guess that somebody consented.
var statuses = map[string]preference.State{
	"ACTIVE": preference.On, "ALWAYS_ACTIVE": preference.On, "OPT_IN": preference.On, "IMPLICIT": preference.On,
	"EXTEND": preference.On, "NOT_OPT_OUT": preference.On,
	"WITHDRAWN": preference.Off, "OPT_OUT": preference.Off, "HARD_OPT_OUT": preference.Off, "EXPIRED": preference.Off,
}

type receipt struct {
	RequestInformation string            `json:"requestInformation"`
	Identifier         string            `json:"identifier"`
	IdentifierType     string            `json:"identifierType"`
	InteractionDate    string            `json:"interactionDate"`
	CustomPayload      map[string]string `json:"customPayload"`
	Purposes           []transaction     `json:"purposes"`
}

// transaction is in PascalCase, unlike what is around it. Its version is left to the collection point.
type transaction struct {
	ID   string `json:"Id"`
	Type string `json:"TransactionType"`
}

type profilesPage struct {
	Content []struct {
		Identifier string          `json:"Identifier"`
		Purposes   []purposeStatus `json:"Purposes"`
	} `json:"content"`
}

type purposeStatus struct {
	ID      string `json:"Id"`
	Version int    `json:"Version"`
	Status  string `json:"Status"`
}

// holding reads the newest version of each of our purposes. Where one is there more than once and nothing tells which is
// newer, what lets us send less wins.
func (p profilesPage) holding(customer preference.CustomerID, ours map[string]preference.PurposeID) preference.Holding {
	type reading struct {
		version int
		state   preference.State
	}
	newest := map[preference.PurposeID]reading{}
	for _, subject := range p.Content {
		if !strings.EqualFold(subject.Identifier, string(customer)) { // OneTrust searched; it may store another case
			continue
		}
		for _, s := range subject.Purposes {
			purpose, known := ours[strings.ToLower(s.ID)]
			before, seen := newest[purpose]
			if !known || seen && s.Version < before.version {
				continue
			}
			now := reading{s.Version, preference.Unknown}
			if state, decided := statuses[strings.ToUpper(s.Status)]; decided {
				now.state = state
			}
			if seen && now.version == before.version && permits(before.state) < permits(now.state) {
				continue
			}
			newest[purpose] = now
		}
	}
	held := preference.Holding{}
	for purpose, r := range newest {
		if r.state != preference.Unknown {
			held[preference.Item{Kind: preference.PurposeItem, Key: string(purpose)}] = r.state
		}
	}
	return held
}

// permits orders states by how much they let us send.
func permits(s preference.State) int {
	return slices.Index([]preference.State{preference.Off, preference.Unknown, preference.On}, s)
}
