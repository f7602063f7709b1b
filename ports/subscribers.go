package ports

import (
	"context"
	"time"

	"accord/domain/preference"
	"accord/domain/webhook"
)

// Endpoints is where other systems ask to be told of changes. The caller has checked the scope. Errors: NotFound for an
// endpoint that there is not, Invalid naming the field, Unavailable.
type Endpoints interface {
	// Create makes an endpoint. Its secret is in the answer, and in no other. Conflict "too-many-endpoints".
	Create(ctx context.Context, e EndpointDraft) (Endpoint, error)
	Endpoint(ctx context.Context, id string) (Endpoint, error)
	// List answers all of them, oldest first.
	List(ctx context.Context) ([]Endpoint, error)
	// Edit changes what is not nil. Enabled again, an endpoint gets what was still to be sent, and what is applied from now on.
	Edit(ctx context.Context, id string, p EndpointPatch) (Endpoint, error)
	// Delete forgets the endpoint with its deliveries. One that is not there is no error.
	Delete(ctx context.Context, id string) error
	// Rotate gives it a new secret, which is in the answer. For a day what is sent is signed with both.
	Rotate(ctx context.Context, id string) (Endpoint, error)
	// Ping sends one event of the type "ping" now, whether the endpoint is enabled or not.
	Ping(ctx context.Context, id string) (DeliveryResult, error)
	// Replay sends everything again that was applied from the given time on, and tells how much that is. It may be at most
	// 30 days ago.
	Replay(ctx context.Context, id string, from time.Time) (int64, error)
	// Deliveries lists them, newest first, below the given id (0 for the newest).
	Deliveries(ctx context.Context, id string, below int64, limit int) ([]EventDelivery, error)
}

// EndpointDraft is asked for.
type EndpointDraft struct {
	URL, Description string
	Events           []string // types; empty for all
}

// EndpointPatch changes what is not nil.
type EndpointPatch struct {
	URL, Description *string
	Events           *[]string
	Enabled          *bool
}

// Endpoint is one as it is kept.
type Endpoint struct {
	ID, URL, Description string
	Events               []string
	Secrets              []webhook.Secret // the current one first; only what sends needs them, and Create and Rotate show the first
	Disabled             string           // why nothing is sent, empty while it is: by_request, gone or failing
	FailingSince         time.Time        // zero while it does not
	CreatedAt, UpdatedAt time.Time
}

// EventDelivery is one event for one endpoint.
type EventDelivery struct {
	ID          int64
	Endpoint    string
	Operation   string
	State       string // pending, delivered, or gone where the person was erased
	Attempts    int
	NextAt      time.Time
	Status      int    // of the last answer, 0 for none
	Code        string // of the last failure, empty for none
	AttemptedAt time.Time
	DeliveredAt time.Time
}

// DeliveryResult is what came of one attempt.
type DeliveryResult struct {
	Status     int    // 0 without an answer
	Code       string // empty when it was taken; else status, timeout, connection, not_allowed or redirect
	RetryAfter time.Duration
	Took       time.Duration
}

// Delivered reports that the receiver has taken it.
func (r DeliveryResult) Delivered() bool { return r.Code == "" }

// EndpointStore keeps endpoints and deliveries. Errors: NotFound, fault.Unavailable.
type EndpointStore interface {
	CreateEndpoint(ctx context.Context, e Endpoint, most int) error
	FindEndpoint(ctx context.Context, id string) (Endpoint, error)
	ListEndpoints(ctx context.Context) ([]Endpoint, error)
	// UpdateEndpoint loads one under a lock, and stores what fn made of it.
	UpdateEndpoint(ctx context.Context, id string, fn func(*Endpoint) error) (Endpoint, error)
	// RotateSecret makes secret the current one, and lets the one before be used until the given time.
	RotateSecret(ctx context.Context, id string, secret webhook.Secret, until time.Time) (Endpoint, error)
	DeleteEndpoint(ctx context.Context, id string) error
	ListDeliveries(ctx context.Context, id string, below int64, limit int) ([]EventDelivery, error)
	ReplayFrom(ctx context.Context, id string, from time.Time) (int64, error)

	// HandOut makes a delivery of each operation that was applied since, for each enabled endpoint, at most limit operations.
	// Nothing is handed out twice, however many do it at once, and nothing is left out: what shows late is found within a
	// day. More says that there may be more.
	HandOut(ctx context.Context, limit int) (more bool, err error)
	// Due lists the enabled endpoints that have something to be sent now.
	Due(ctx context.Context) ([]Endpoint, error)
	// Claim takes at most limit deliveries of an endpoint that are due. Nobody else gets them until the lease has ended; one
	// that is not closed by then, because its process is gone, is due again.
	Claim(ctx context.Context, endpoint string, limit int, lease time.Duration) ([]DueDelivery, error)
	// CloseDelivery records an attempt. next is when it is due again, zero when it was delivered. Nothing is recorded for
	// a claim that somebody else has taken over.
	CloseDelivery(ctx context.Context, d DueDelivery, r DeliveryResult, next time.Time) error
	// Backlog counts what is to be sent to enabled endpoints.
	Backlog(ctx context.Context) (int64, error)
}

// DueDelivery is one that somebody has claimed. Operation is nil when it is not there any more.
type DueDelivery struct {
	ID        int64
	Lease     string
	Attempts  int // before this one
	Event     string
	Operation *preference.Operation
}

// WebhookSender sends one message.
type WebhookSender interface {
	// Send makes one attempt. Repeating it is harmless: the id is the same. It never follows a redirect and never reaches
	// into our own network.
	Send(ctx context.Context, url string, m OutgoingWebhook) DeliveryResult

	// Check refuses an address that Send would never reach: Invalid on "url".
	Check(url string) error
}

// OutgoingWebhook is a message, signed for this attempt.
type OutgoingWebhook struct {
	ID, Timestamp, Signature string
	Body                     []byte
}
