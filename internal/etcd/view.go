package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lookTimeout bounds each question of a look. A paused machine accepts connections and never
// answers; that must not hold up a plan. An election takes about a second.
const lookTimeout = 3 * time.Second

// View is the cluster as one member sees it.
type View struct {
	ClusterID uint64
	// MemberID is the member that was asked, LeaderID the one it follows, or 0 if it knows of none.
	MemberID, LeaderID uint64
	Version            string
	// Learner says that the member that was asked does not vote yet. A learner answers for itself
	// only: it lists no members and does not know of a quorum.
	Learner bool
	// RaftIndex is the last committed entry that the member knows of, RaftApplied the last one that
	// it has applied.
	RaftIndex, RaftApplied uint64
	// Members are sorted by name. Without a quorum they are those that this member remembers, which
	// may be out of date.
	Members []Member
	// Quorum says that a majority of the voters confirmed the list of members.
	Quorum bool
}

// View asks the member about itself and for the members of the cluster. It is an answer, not an
// error, that there is no quorum: no majority confirmed the list within three seconds. It is an
// error if the member does not answer.
func (c *Client) View(ctx context.Context) (View, error) {
	view, err := c.view(ctx)
	if err != nil {
		return View{}, c.failure("look at the cluster", err)
	}
	return view, nil
}

func (c *Client) view(ctx context.Context) (View, error) {
	self, err := c.status(ctx)
	if err != nil {
		return View{}, err
	}
	view := View{
		ClusterID: self.Header.GetClusterId(), MemberID: self.Header.GetMemberId(), LeaderID: self.Leader,
		Version: self.Version, Learner: self.IsLearner,
		RaftIndex: self.RaftIndex, RaftApplied: self.RaftAppliedIndex,
	}
	if view.Learner {
		return view, nil
	}
	view.Members, err = c.listBriefly(ctx)
	if err == nil {
		view.Quorum = true
		return view, nil
	}
	if !unanswered(err) {
		return View{}, fmt.Errorf("list members: %w", err)
	}
	view.Members, err = c.listBriefly(ctx, clientv3.WithSerializable())
	if err != nil {
		return View{}, fmt.Errorf("list members without a quorum: %w", err)
	}
	return view, nil
}

// status asks the member about itself, which it answers without any other.
func (c *Client) status(ctx context.Context) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	answer, err := c.client.Status(ctx, c.config.Endpoint)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("it does not answer; is it stopped, paused or cut off? %w", err)
	case err != nil:
		return nil, fmt.Errorf("read its state: %w", err)
	}
	c.cause.forget()
	return answer, nil
}

func (c *Client) listBriefly(ctx context.Context, options ...clientv3.OpOption) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return c.list(ctx, options...)
}

// unanswered says that nobody decided about a request: it timed out, here or at the member, the
// member found no leader, or the connection broke. A change may have happened all the same.
func unanswered(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var coded interface{ Code() codes.Code } // what etcd itself says, in words of its own
	if errors.As(err, &coded) {
		return coded.Code() == codes.Unavailable
	}
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}
