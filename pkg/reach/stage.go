package reach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// stageMemory bounds a utility pod in which a restore is staged. It asks for
// no more than the others. etcdutl itself needs about 40 MiB whatever the size,
// but it goes through the whole database several times, mapped into memory:
// where the pages it has read do not fit within the limit, they are read again
// from the disk, and a build takes several times as long. They are the kernel's
// to take back.
const stageMemory = "4Gi"

// Stage is a utility pod that can write the data volume of one member: a
// restore is prepared and switched there. Whatever was begun through one Stage
// can be ended through another.
type Stage struct {
	link  *agentLink
	place datadir.Place
}

// operationID is a label's value and a folder's name.
var operationID = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// OpenStage makes the pod for the operation Options.OperationID. The member may
// be without a pod, or without a node where its volume is a claim's.
func OpenStage(ctx context.Context, c *Clients, m controlplane.Member, o Options) (*Stage, error) {
	if m.WALVolume != nil && !m.WALVolume.Shareable() {
		return nil, notPossible("the member's log directory %s is in no volume that another pod can mount", m.WALDir)
	}
	o.Data, o.stage = true, true
	return openStage(ctx, c, m, o, datadir.Place{DataDir: m.DataDir, WALDir: m.WALDir, Op: o.OperationID})
}

// OpenAsker is OpenStage without the volume: such a Stage can ask the member's etcd, and nothing else.
func OpenAsker(ctx context.Context, c *Clients, m controlplane.Member, o Options) (*Stage, error) {
	return openStage(ctx, c, m, o, datadir.Place{Op: o.OperationID})
}

func openStage(ctx context.Context, c *Clients, m controlplane.Member, o Options, p datadir.Place) (*Stage, error) {
	if !operationID.MatchString(o.OperationID) {
		return nil, fmt.Errorf("open stage: %q is no operation id", o.OperationID)
	}
	o.Operation = "restore"
	link, err := openAgent(ctx, c, m, o)
	if err != nil {
		return nil, err
	}
	return &Stage{link: link.(*agentLink), place: p}, nil
}

// Member is whose volume it is.
func (s *Stage) Member() controlplane.Member { return s.link.member }

// Pod is the name of the utility pod.
func (s *Stage) Pod() string { return s.link.target.Pod }

// Query asks the member's etcd.
func (s *Stage) Query(ctx context.Context, q Question) (*agentapi.QueryReply, error) {
	return s.link.Query(ctx, q)
}

// Close removes the pod; what is on the volume stays.
func (s *Stage) Close(ctx context.Context) error { return s.link.Close(ctx) }

// Inspect looks at the data directory and at all operations that left something in it.
func (s *Stage) Inspect(ctx context.Context) (*datadir.State, error) {
	return ask[datadir.State](ctx, s, agentapi.RequestInspect, s.place, nil)
}

// InspectKept looks at what this operation has set aside.
func (s *Stage) InspectKept(ctx context.Context) (*datadir.State, error) {
	return ask[datadir.State](ctx, s, agentapi.RequestInspect, s.place.Kept(), nil)
}

// Prepare checks that there is room for a snapshot of size bytes and for the
// data built of it. Upload does so too.
func (s *Stage) Prepare(ctx context.Context, size int64) (*datadir.Prepared, error) {
	return ask[datadir.Prepared](ctx, s, agentapi.RequestPrepare, agentapi.PrepareRequest{Place: s.place, Size: size}, nil)
}

// Content is a snapshot that is uploaded: plain, and also compressed where there is that.
type Content struct {
	Plain  io.ReaderAt
	Size   int64
	SHA256 string // hex
	// Packed is the same as a zstd stream; nil: there is none.
	Packed     io.ReaderAt
	PackedSize int64
	// PackedProven means that Packed was made of what has this SHA256, and that Plain ends in the checksum that etcd's tool
	// checks: it is not summed up once more while it is unpacked.
	PackedProven bool
	// Pace is told how many bytes are about to be sent, and waits as long as it wants; nil does not.
	Pace func(n int) error
}

// paced reads no faster than it may be sent.
type paced struct {
	io.ReaderAt
	pace func(n int) error
}

func (p paced) ReadAt(b []byte, offset int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, offset)
	if perr := p.pace(n); perr != nil {
		return 0, perr
	}
	return n, err
}

// Upload puts a snapshot on the volume, unless it, or the data built of it, is there already. It is sent compressed where
// that is possible and the volume has room for that, too. A link that is cut is taken up again.
func (s *Stage) Upload(ctx context.Context, c Content, progress func(done, total int64)) error {
	p, err := s.Prepare(ctx, c.Size)
	if err != nil || p.Built != nil {
		return err
	}
	if p.Size == c.Size {
		there, err := ask[frame.StatReply](ctx, s, frame.RequestStat, frame.StatRequest{Path: p.Path, Sum: true}, nil)
		if err != nil || there.Exists && there.SHA256 == c.SHA256 {
			return err
		}
	}
	send := func(src io.ReaderAt, size int64, path string) error {
		if c.Pace != nil {
			src = paced{src, c.Pace}
		}
		_, err := s.link.talk().CopyTo(ctx, src, size, path, podexec.CopyOptions{Progress: progress})
		return err
	}
	if c.Packed == nil || c.PackedSize >= c.Size || p.Free < datadir.Room(c.Size)+c.PackedSize {
		return send(c.Plain, c.Size, p.Path)
	}
	packed := p.Path + packedSuffix
	if err := send(c.Packed, c.PackedSize, packed); err != nil {
		return err
	}
	r := agentapi.UnpackRequest{From: packed, To: p.Path, Size: c.Size, SHA256: c.SHA256}
	if c.PackedProven {
		r.SHA256 = ""
	}
	_, err = ask[frame.WriteReply](ctx, s, agentapi.RequestUnpack, r, nil)
	return err
}

const packedSuffix = ".zst"

// Build builds the member's new data of what was uploaded; the request's Place is set here.
func (s *Stage) Build(ctx context.Context, r datadir.BuildRequest, progress func(step string)) (*datadir.Built, error) {
	r.Place = s.place
	return ask[datadir.Built](ctx, s, agentapi.RequestBuild, r, progress)
}

// Exchange switches between old and new data; the request's Place is set here.
func (s *Stage) Exchange(ctx context.Context, r datadir.ExchangeRequest) (*datadir.Exchanged, error) {
	r.Place = s.place
	return ask[datadir.Exchanged](ctx, s, agentapi.RequestExchange, r, nil)
}

// Discard deletes what an operation, by default this one, left beside the
// member's data, and tells how many bytes that gave back.
func (s *Stage) Discard(ctx context.Context, op string) (int64, error) {
	p := s.place
	if op != "" {
		p.Op = op
	}
	d, err := ask[datadir.Discarded](ctx, s, agentapi.RequestDiscard, p, nil)
	if err != nil {
		return 0, err
	}
	return d.Freed, nil
}

// Drop deletes the member's data; the request's Place is set here.
func (s *Stage) Drop(ctx context.Context, r datadir.DropRequest) (*datadir.Discarded, error) {
	r.Place = s.place
	return ask[datadir.Discarded](ctx, s, agentapi.RequestDrop, r, nil)
}

// Refused tells the code with which an agent refused, one of package agentapi's or
// frame's; "" is another kind of failure.
func Refused(err error) string {
	var refusal *frame.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}

// ask holds one conversation with the agent whose progress is in words.
func ask[Reply any](ctx context.Context, s *Stage, name string, body any, progress func(string)) (*Reply, error) {
	reply, err := s.link.talk().Call(ctx, podexec.Request{Name: name, Body: body}, podexec.CallOptions{
		Progress: func(raw json.RawMessage) {
			var step string
			if progress != nil && json.Unmarshal(raw, &step) == nil {
				progress(step)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("member %s: %w", s.link.member.Name, err)
	}
	into := new(Reply)
	if err := json.Unmarshal(reply.Extra, into); err != nil {
		return nil, fmt.Errorf("member %s: read the agent's reply to %s: %w", s.link.member.Name, name, err)
	}
	return into, nil
}
