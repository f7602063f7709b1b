package sandbox

import (
	"net/http"
)

// mountControl registers the control calls. They are never logged, limited or faulted.
func (s *Sandbox) mountControl() {
	for pattern, handle := range map[string]func(*http.Request) reply{
		"GET /healthz":                                func(*http.Request) reply { return ok(object{"status": "ok"}) },
		"GET /_sandbox/customers/{customer}":          s.getCustomer,
		"PUT /_sandbox/customers/{customer}":          s.putCustomer,
		"GET /_sandbox/customers/{customer}/receipts": s.getReceipts,
		"POST /_sandbox/faults":                       s.postFault,
		"GET /_sandbox/faults":                        func(*http.Request) reply { return ok(object{"faults": s.faults.list()}) },
		"DELETE /_sandbox/faults":                     s.deleteFaults,
		"DELETE /_sandbox/faults/{id}":                s.deleteFault,
		"GET /_sandbox/requests":                      s.getRequests,
		"DELETE /_sandbox/requests":                   s.deleteRequests,
		"POST /_sandbox/messages":                     s.postMessage,
		"DELETE /_sandbox/messages/{id}":              s.retractMessage,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if s.isClosed() {
				unwritable().write(w)
				return
			}
			handle(r).write(w)
		})
	}
	s.mux.HandleFunc("/_sandbox/", func(w http.ResponseWriter, _ *http.Request) {
		problem(http.StatusNotFound, "not-found", "there is no such control call").write(w)
	})
}

func (s *Sandbox) postFault(r *http.Request) reply {
	var in faultRequest
	if bad := decodeStrict(r, &in); bad != nil {
		return badRequest(bad)
	}
	f, bad := in.fault()
	if bad != nil {
		return badRequest(bad)
	}
	return reply{status: http.StatusCreated, body: s.faults.add(f)}
}

func (s *Sandbox) deleteFaults(*http.Request) reply {
	s.faults.removeAll()
	return reply{status: http.StatusNoContent}
}

func (s *Sandbox) deleteFault(r *http.Request) reply {
	if !s.faults.remove(r.PathValue("id")) {
		return problem(http.StatusNotFound, "not-found", "there is no such fault")
	}
	return reply{status: http.StatusNoContent}
}

func (s *Sandbox) getRequests(r *http.Request) reply {
	query := r.URL.Query()
	return ok(object{"requests": s.requests.list(query.Get("customer"), query.Get("target"))})
}

func (s *Sandbox) deleteRequests(*http.Request) reply {
	s.requests.clear()
	return reply{status: http.StatusNoContent}
}

// getReceipts shows the consent receipts of a customer as they came, custom payload included, oldest first.
func (s *Sandbox) getReceipts(r *http.Request) reply {
	receipts := []oneTrustReceipt{}
	s.view(func(st *state) {
		if subject := st.OneTrust.Subjects[r.PathValue("customer")]; subject != nil {
			receipts = append(receipts, subject.Receipts...)
		}
	})
	return ok(object{"receipts": receipts})
}
