package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

const (
	// drain is how long handlers may go on after the worker was asked to stop. What is not done by then is rolled back and
	// delivered again.
	drain = 20 * time.Second

	// handlingTime is the default of Worker.Timeout.
	handlingTime = time.Minute

	// burialTime bounds storing a dead letter.
	burialTime = 15 * time.Second
)

// Worker reads one durable consumer and gives each event to its route. Fill in the fields, then Run it once.
type Worker struct {
	Bus      *bus.Bus
	Consumer string // durable consumer, which is also Watermill's topic and the handler's name
	Routes   []Route

	// Otherwise takes the events without a route. nil: they are dead letters, since nobody else would take them.
	Otherwise Handler

	// Known reports whether a tenant exists. Events of others are parked until it does.
	Known func(tenant string) bool

	MaxInFlight int           // messages handled at a time; 0: 1, in order
	Timeout     time.Duration // of one handling; 0: one minute
	MaxDelay    time.Duration // cuts the pause before the next try, where everything is on one machine; 0: as Judge decides
	Metrics     *Metrics      // nil: none
	Log         *slog.Logger
}

// Run handles messages until ctx ends, then stops pulling and finishes what is in flight, within 20 seconds. It returns
// nil after a complete drain. Any other return is an error that the process should end with: a *Fatal from a handler, a
// consumer that does not exist, or a drain that took too long.
func (w *Worker) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := &shift{Worker: w, log: w.Log.With("consumer", w.Consumer), routes: map[events.Type]Handler{}, stop: stop}
	for _, r := range w.Routes {
		s.routes[r.Type] = r.Handle
	}
	router, err := s.router()
	if err != nil {
		return fmt.Errorf("consumer %s: %w", w.Consumer, err)
	}

	ended := make(chan error, 1)
	// The router must not end with ctx: Close is what waits for messages in flight, and tells when that took too long.
	go func() { ended <- router.Run(context.WithoutCancel(ctx)) }()
	select {
	case err := <-ended:
		if err == nil {
			err = errors.New("the subscription ended by itself")
		}
		return fmt.Errorf("consumer %s: %w", w.Consumer, err)
	case <-ctx.Done():
	}
	s.log.Info("draining")
	// Close before Running would find no handlers and leave the subscription behind.
	select {
	case <-router.Running():
	case err := <-ended:
		return fmt.Errorf("consumer %s: %w", w.Consumer, err)
	}
	err = router.Close()
	<-ended
	if fatal, ok := errors.AsType[*Fatal](context.Cause(ctx)); ok {
		err = errors.Join(fatal, err)
	}
	if err != nil {
		return fmt.Errorf("consumer %s: %w", w.Consumer, err)
	}
	s.log.Info("drained")
	return nil
}

// shift is one Run of a worker.
type shift struct {
	*Worker
	log    *slog.Logger
	routes map[events.Type]Handler
	stop   context.CancelCauseFunc
}

func (s *shift) router() (*message.Router, error) {
	// Watermill's own lines are about its plumbing; ours are about messages.
	plumbing := watermill.NewSlogLoggerWithLevelMapping(s.log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: drain + 5*time.Second}, plumbing)
	if err != nil {
		return nil, err
	}
	// The first is the outermost.
	router.AddMiddleware(
		s.settle,  // outermost, since it must see every end of a message, a panic and a timeout included
		s.recover, // outside the deadline, so that a panic leaves no timer behind; inside settle, which judges it
		s.bound,   // around the handler alone: settling must not run out of the handler's time
	)
	// Not used, on purpose: Watermill's Retry (the broker would redeliver meanwhile), Deduplicator (it marks a message as
	// seen before it was handled) and PoisonQueue (it copies the payload in clear).
	subscriber := bus.NewSubscriber(s.Bus, bus.SubscriberOptions{MaxInFlight: s.MaxInFlight, DrainTimeout: drain})
	router.AddConsumerHandler(s.Consumer, s.Consumer, subscriber, s.handle)
	return router, nil
}

// delivery is what the middlewares of one message share.
type delivery struct {
	in    *bus.Incoming
	event events.Event // empty until it is decoded
}

type deliveryKey struct{}

// settle carries out the verdict. It answers the broker itself, since the router knows only ack and nack.
func (s *shift) settle(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		d := &delivery{in: bus.IncomingFrom(ctx)}
		msg.SetContext(context.WithValue(ctx, deliveryKey{}, d))

		began := time.Now()
		_, err := next(msg)
		decision := Judge(err, d.in.Deliveries)
		if decision.Fault != nil {
			burial, cancel := context.WithTimeout(context.WithoutCancel(ctx), burialTime)
			lost := s.Bus.BuryAll(burial, []bus.Burial{decision.Burial(d.in, d.event)})
			cancel()
			if lost != nil {
				decision, err = Judge(lost, d.in.Deliveries), errors.Join(err, lost)
			}
		}
		if s.MaxDelay > 0 {
			decision.Delay = min(decision.Delay, s.MaxDelay)
		}
		s.Metrics.Observe(s.Consumer, d.event.Definition.Name, decision, time.Since(began))
		s.tell(ctx, d, decision, err)
		switch decision.Verdict {
		case Done, Bury, Park:
			msg.Ack()
		case Stop:
			s.stop(err)
			fallthrough
		default:
			bus.RetryAfter(msg, decision.Delay)
			msg.Nack()
		}
		return nil, nil
	}
}

func (s *shift) tell(ctx context.Context, d *delivery, decision Decision, err error) {
	log := s.log.With("event", d.event.Definition.Name, "tenant", d.event.Tenant, "id", d.event.ID,
		"stream", d.in.Stream, "sequence", d.in.Sequence, "delivery", d.in.Deliveries)
	if p, ok := errors.AsType[*Panic](err); ok {
		s.Metrics.Panicked(s.Consumer)
		log.ErrorContext(ctx, "handler panicked", "error", p, "stack", string(p.Stack))
	}
	switch decision.Verdict {
	case Done:
		log.DebugContext(ctx, "handled")
	case Bury, Park:
		log.ErrorContext(ctx, "dead letter", "verdict", decision.Verdict, "reason", decision.Fault.Fault, "error", err)
	case Stop:
		log.ErrorContext(ctx, "stopping: nothing can be handled until this is mended", "error", err)
	default:
		log.WarnContext(ctx, "not handled yet", "again in", decision.Delay, "error", err)
	}
}

func (s *shift) recover(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (produced []*message.Message, err error) {
		err = Guard(func() (err error) { produced, err = next(msg); return err })
		return produced, err
	}
}

// Guard runs f and returns its error, or a *Panic where f panicked: one event must not end the process for all others.
func Guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{What: describe(v), Stack: debug.Stack()}
		}
	}()
	return f()
}

func describe(v any) string {
	if r, ok := v.(runtime.Error); ok {
		return r.Error()
	}
	return fmt.Sprintf("%T", v)
}

func (s *shift) bound(next message.HandlerFunc) message.HandlerFunc {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = handlingTime
	}
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx, cancel := context.WithTimeout(msg.Context(), timeout)
		defer cancel()
		msg.SetContext(ctx)
		return next(msg)
	}
}

func (s *shift) handle(msg *message.Message) error {
	ctx := msg.Context()
	d := ctx.Value(deliveryKey{}).(*delivery)
	var err error
	if d.event, err = Read(d.in, s.Known); err != nil {
		return err
	}
	if handle, ok := s.routes[d.event.Definition.Type]; ok {
		return handle(ctx, d.event)
	}
	if s.Otherwise != nil {
		return s.Otherwise(ctx, d.event)
	}
	return &events.Malformed{Fault: events.NoHandler, Field: "type", Why: "is one that " + s.Consumer + " does not handle"}
}

// Read decodes a message and checks that its tenant exists. What is wrong with it is a *events.Malformed.
func Read(in *bus.Incoming, known func(tenant string) bool) (events.Event, error) {
	e, err := events.Decode(in.Subject, in.Header, in.Data)
	if err != nil {
		return events.Event{}, err
	}
	if !known(e.Tenant) {
		return e, &events.Malformed{Fault: events.TenantUnknown, Field: "subject", Why: "names a tenant that does not exist; replay it once it does"}
	}
	return e, nil
}

// Burial is the dead letter of a decision to Bury or Park. The event is empty if it could not be decoded.
func (d Decision) Burial(in *bus.Incoming, e events.Event) bus.Burial {
	return bus.Burial{In: in, Verdict: bus.Verdict{
		EventID: e.ID,
		Source:  e.Source,
		Type:    string(e.Definition.Type),
		Reason:  string(d.Fault.Fault),
		Detail:  d.Fault.Error(),
		Parked:  d.Verdict == Park,
	}}
}
