// pool_wait.cpp: waiting for a slot, and waking whoever waits.
//
// A waiter marks its lane's demand bit, runs the heavy fence, looks again, and only then sleeps. A
// releaser stores its word and loads the demand: one of the two sees the other.
//
//   killed                                leaves
//   waiter, between its two marks         one without the other: the repair sets the summary, a
//                                         releaser who meets nobody clears it
//   waiter, after its mark                a bit of a dead lane: cleared by a releaser who finds it
//   waiter, woken, before it takes        its own death wakes another sleeper
//   releaser, before the event or wake    its death wakes a sleeper, who repairs and wakes all
#include <algorithm>
#include <utility>

#include <lagoon/error.hpp>

#include "os.hpp"
#include "pool_body.hpp"
#include "pool_creation.hpp"
#include "pool_life.hpp"
#include "pool_queue.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t full_scan_slots = 1024;  // above, hints are trusted until a cap or a death
constexpr int spins = spin_rounds(200);          // a few microseconds
constexpr std::uint64_t known_demand =
    demand_bulk | demand_attention | ((std::uint64_t{1} << demand_leaves) - 1);

std::uint64_t leaf_bits(const PoolBody& body, std::uint32_t leaf) noexcept {
    // D5 seq_cst load, no pair: ordered with D1. kept: the bit of the summary is set behind the
    // leaf's, so D8 has taken over whatever has to be seen here.
    return body.demand_leaf[leaf].load(std::memory_order_seq_cst);
}

std::uint64_t demand_of(const PoolBody& body) noexcept {
    // D3 seq_cst load, no pair: ordered after the slot's word and with D1.
    return body.demand.load(std::memory_order_seq_cst);
}

void set_bit(PoolBody& body, std::uint32_t lane) noexcept {
    // D6 seq_cst RMW, no pair: ordered with D5. kept: D1 behind it publishes it.
    body.demand_leaf[lane / 64].fetch_or(std::uint64_t{1} << (lane % 64),
                                         std::memory_order_seq_cst);
    // D1 seq_cst RMW, no pair: ordered with the releaser's word by the heavy fence, and with D3.
    // kept: the heavy fence behind every mark is a full one on this CPU in any case.
    body.demand.fetch_or(std::uint64_t{1} << (lane / 64), std::memory_order_seq_cst);
}

/// The leaf is empty: its bit in the summary goes, unless somebody has marked the leaf again.
void clear_summary(PoolBody& body, std::uint32_t leaf) noexcept {
    // D8 seq_cst RMW, no pair: ordered with D1. kept: acq_rel would do, by which it takes over what
    // the setter of the bit has set in the leaf.
    body.demand.fetch_and(~(std::uint64_t{1} << leaf), std::memory_order_seq_cst);
    if (leaf_bits(body, leaf) != 0) {
        // D1 seq_cst RMW, no pair: as in set_bit. kept: its order, for everybody is woken
        // afterwards.
        body.demand.fetch_or(std::uint64_t{1} << leaf, std::memory_order_seq_cst);
        // A release in between saw no demand, though somebody had marked it.
        wake(body.event, everybody);
    }
}

void clear_bit(PoolBody& body, std::uint32_t lane) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (lane % 64);
    const std::uint32_t leaf = lane / 64;
    // D7 seq_cst RMW, no pair: ordered with D6. kept: its order, as D5.
    const std::uint64_t left =
        body.demand_leaf[leaf].fetch_and(~bit, std::memory_order_seq_cst) & ~bit;
    if (left == 0) clear_summary(body, leaf);
}

void wake_some(PoolObject& pool, int sleepers) noexcept {
    PoolBody& body = body_of(pool);
    // D4 release RMW -> D2: what changed is seen by who looks again. kept: the mark and the heavy
    // fence order the look behind it, in a model that runs all calls in order.
    body.event.fetch_add(1, std::memory_order_release);
    if (os::futex_wake(body.event, sleepers) > 0) return;
    drop_stale_demand(pool);
}

}  // namespace

void drop_stale_demand(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    const Attachment* attachment = attachment_of(&pool);
    if (attachment == nullptr) return;
    bool revived = false;
    // Bits that stand for nothing would send every release the long way for ever.
    if ((demand_of(body) & ~known_demand) != 0) {
        // D8 seq_cst RMW, no pair: nobody sets these. kept: its order, for nothing is ordered by
        // them.
        body.demand.fetch_and(known_demand, std::memory_order_seq_cst);
    }
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        for (std::uint64_t bits = leaf_bits(body, leaf); bits != 0; bits &= bits - 1) {
            const std::uint32_t lane =
                leaf * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
            if (lane_lives(*attachment, lane)) continue;
            clear_bit(body, lane);
            if (lane_lives(*attachment, lane)) {
                set_bit(body, lane);
                revived = true;
            }
        }
        // One who died while it withdrew, or a late reaper, has left the summary's bit alone.
        if ((demand_of(body) >> leaf & 1) != 0 && leaf_bits(body, leaf) == 0) {
            clear_summary(body, leaf);
        }
    }
    if (revived) wake(body.event, everybody);
}

Effort effort_of(const PoolBody& body) noexcept {
    return body.capacity <= full_scan_slots ? Effort::slots : Effort::leaves;
}

void wake_for_idle(PoolObject& pool) noexcept {
    const std::uint64_t demand = demand_of(body_of(pool));
    if (demand == 0) return;
    if (is_queued(body_of(pool))) {
        serve_queue(pool);
        if ((demand & demand_attention) == 0) return;
    }
    wake_some(pool, (demand & (demand_bulk | demand_attention)) != 0 ? everybody : 1);
}

void wake_for_place(PoolObject& pool) noexcept {
    // Not every waiter can use a place, so one wake-up could be spent on the wrong one.
    if (demand_of(body_of(pool)) != 0) wake_some(pool, everybody);
}

void wake_pool(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    std::uint64_t marked = 0;
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        if (leaf_bits(body, leaf) != 0) marked |= std::uint64_t{1} << leaf;
    }
    // D1 seq_cst RMW, no pair: as in set_bit, for one who died before it; else nobody would drop
    // the dead one's mark. kept: its order, for everybody is woken afterwards.
    if (marked != 0) body.demand.fetch_or(marked, std::memory_order_seq_cst);
    wake(body.event, everybody);
}

std::uint64_t waiting_lanes(const PoolBody& body) noexcept {
    std::uint64_t lanes = 0;
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        lanes += static_cast<std::uint64_t>(std::popcount(leaf_bits(body, leaf)));
    }
    return lanes;
}

void announce_wait(PoolObject& pool, const LaneView& lane) noexcept {
    if (!lane.shared) return set_bit(body_of(pool), lane.lane);
    PoolPrivate& own = pool_private(*lane.attachment, pool);
    const ProcessLock lock;
    if (std::exchange(own.waiters_epoch, process_epoch()) != process_epoch()) own.waiters = 0;
    ++own.waiters;
    set_bit(body_of(pool), lane.lane);
}

void withdraw_wait(PoolObject& pool, const LaneView& lane) noexcept {
    if (!lane.shared) return clear_bit(body_of(pool), lane.lane);
    // Several threads wait under this bit: the last one clears it.
    PoolPrivate& own = pool_private(*lane.attachment, pool);
    const ProcessLock lock;
    if (--own.waiters == 0) clear_bit(body_of(pool), lane.lane);
}

void forget_waits(Attachment& attachment, std::uint32_t lane) noexcept {
    attachment.for_each(Kind::pool, [lane](const DirectoryEntry&, std::byte* object) {
        PoolBody& body = body_of(*reinterpret_cast<PoolObject*>(object));
        if ((leaf_bits(body, lane / 64) >> (lane % 64) & 1) != 0) clear_bit(body, lane);
    });
}

bool may_wait(PoolObject& pool, const LaneView& lane) noexcept {
    PoolBody& body = body_of(pool);
    if (body.max_waiters == 0) return true;
    announce_wait(pool, lane);
    if (waiting_lanes(body) > body.max_waiters) {
        // Who is turned away never sleeps, where deaths are noticed: a dead waiter's mark, and what
        // it held, would stay for good.
        (void)repair_the_dead(*lane.attachment);
        drop_stale_demand(pool);
    }
    const bool few = waiting_lanes(body) <= body.max_waiters;
    // Several threads under one mark are counted each time they announce themselves.
    if (!few || lane.shared) withdraw_wait(pool, lane);
    return few;
}

Settled settle_dirty(PoolObject& pool, const Patience& patience, Effort effort) noexcept {
    if (patience.deadline == Deadline::min()) return Settled::nothing;
    HintTree hints = hints_of(body_of(pool), Hint::dirty);
    if (effort == Effort::hints && hints.next_leaf(0) == no_index) return Settled::nothing;
    Reaped done;
    settle_pool(pool, done, effort);
    return done.hooks_run != 0 ? Settled::ran_hooks : Settled::looked;
}

namespace {

/// One acquisition that may have to wait.
class Waiter {
public:
    Waiter(PoolObject& pool, PoolCache& cache, Want want, const Patience& patience)
        : pool_{pool},
          body_{body_of(pool)},
          cache_{cache},
          lane_{lane_of(&pool)},
          want_{want},
          patience_{patience} {}

    Taken run() {
        const bool tries = patience_.deadline == Deadline::min();
        Taken taken = try_once(tries ? Effort::tried : Effort::hints);
        if (is_final(taken)) return taken;
        if (patience_.deadline <= std::chrono::steady_clock::now()) return give_up(taken);
        if (patience_.stop.stop_requested()) return not_taken(Outcome::cancelled, phase());
        // With one CPU for both sides spinning is in the way, so it is short.
        for (int i = 0; i < spins; ++i) {
            cpu_relax();
            if (i % 20 == 19) {
                taken = take_good(Effort::hints);
                if (is_final(taken)) return taken;
            }
        }
        return wait();
    }

private:
    static bool is_final(Taken taken) noexcept {
        return taken.word != 0 || outcome_of(taken) == Outcome::closed;
    }

    Taken give_up(Taken last) noexcept {
        if (patience_.deadline == Deadline::min()) {
            return turn_ == Turn::mine ? last : not_taken(outcome_of(last), phase());
        }
        count(body_.timed_out);
        return not_taken(Outcome::timed_out, phase());
    }
    [[nodiscard]] Phase phase() const noexcept {
        if (turn_ == Turn::busy) return Phase::creating;
        if (turn_ == Turn::later) return Phase::retrying;
        return failed_check_ ? Phase::checking : Phase::waiting;
    }

    /// What is idle, once it has passed the check that it may want.
    Taken take_good(Effort effort) {
        for (;;) {
            const Taken taken = take_idle(pool_, cache_, effort);
            if (taken.word == 0 || effort == Effort::tried || !has_life(body_)) return taken;
            const Taken good = checked(pool_, cache_, taken);
            if (good.word != 0) return good;
            // That resource is ended. Each round ends one, and none begins past the deadline.
            ran_hooks_ = true;
            failed_check_ = true;
            if (patience_.stop.stop_requested() ||
                patience_.deadline <= std::chrono::steady_clock::now()) {
                return good;
            }
        }
    }

    Settled settle(Effort effort) {
        const Settled settled = settle_dirty(pool_, patience_, effort);
        if (settled == Settled::ran_hooks) ran_hooks_ = true;
        return settled;
    }

    /// A place for a new resource, if it is our turn to make one.
    Taken take_place(Effort effort) {
        if (!place_is_left(pool_, cache_)) return not_taken(Outcome::would_block);
        turn_ = ask_turn(body_);
        if (turn_ != Turn::mine) return not_taken(Outcome::would_block);
        const Taken place = take_empty(body_, cache_.lane, effort);
        if (place.word == 0) return place;
        turn_ = take_turn(body_, place);
        if (turn_ == Turn::mine) return place;
        make_empty(pool_, place.index, place.word);
        return not_taken(Outcome::would_block);
    }

    Taken try_once(Effort effort) {
        ran_hooks_ = false;
        failed_check_ = false;
        turn_ = Turn::mine;
        Taken taken = take_good(effort);
        if (is_final(taken)) return taken;
        // What is over is ended before another one is made; and none is made if something came back
        // while a hook ran.
        if (has_life(body_) && effort != Effort::tried && settle(effort) == Settled::ran_hooks) {
            taken = take_good(effort);
            if (is_final(taken)) return taken;
        }
        if (want_ == Want::idle_or_building) {
            const Taken place = take_place(effort);
            if (is_final(place)) return place;
        }
        if (settle(effort) == Settled::nothing && !ran_hooks_) return taken;
        taken = take_good(effort);
        if (!is_final(taken) && want_ == Want::idle_or_building) {
            const Taken place = take_place(effort);
            if (is_final(place)) return place;
        }
        return taken;
    }

    /// When there is something to look at that nobody wakes for.
    [[nodiscard]] Deadline look_at() const noexcept {
        const Deadline tell = next_tell(pool_);
        if (turn_ != Turn::later) return tell;
        return std::min(tell, Deadline{std::chrono::nanoseconds{next_try_ns(body_)}});
    }

    Taken wait() {
        PlaceInQueue place{pool_, cache_, lane_, 1, want_ == Want::idle_or_building};
        if (!may_wait(pool_, lane_)) return not_taken(Outcome::too_many_waiters);
        Sleeper sleeper{&pool_, place.event(), patience_};
        count(body_.waits);
        Woken woken = Woken::event;
        Taken taken = not_taken(Outcome::timed_out);
        bool unasked = false;  // the last sleep ended by its cap, and nobody had moved the event
        std::uint32_t slept_on = 0;
        for (;;) {
            (void)tell_overdue(pool_, duty_slots);
            // D2 acquire load <- D4, E1: read before the mark. kept: as D4.
            const std::uint32_t seen = place.event().load(std::memory_order_acquire);
            const SeenWord of_pool = place.of_pool();
            unasked = woken == Woken::cap && seen == slept_on;
            slept_on = seen;
            place.announce();
            heavy_fence();
            taken = try_once(woken != Woken::event ? Effort::slots : effort_of(body_));
            if (is_final(taken)) break;
            if (sleeper.stop_requested()) {
                taken = not_taken(Outcome::cancelled, phase());
                break;
            }
            if (sleeper.expired()) {
                count(body_.timed_out);
                taken = not_taken(Outcome::timed_out, phase());
                break;
            }
            // A hook may have waited here itself, and taken our mark away.
            if (!ran_hooks_) woken = sleeper.sleep(seen, look_at(), of_pool);
            if (lane_.shared) place.withdraw();
        }
        place.withdraw();
        if (taken.word != 0) {
            if (unasked) count(body_.late_wakes);
        } else {
            // The wake-up that we may have been given is somebody else's now.
            wake_for_place(pool_);
        }
        return taken;
    }

    PoolObject& pool_;
    PoolBody& body_;
    PoolCache& cache_;
    const LaneView& lane_;
    Want want_;
    const Patience& patience_;
    // Of the last look.
    bool ran_hooks_ = false;
    bool failed_check_ = false;
    Turn turn_ = Turn::mine;
};

}  // namespace

Taken pool_acquire(PoolObject& pool, Want want, const Patience& patience) {
    Outcome why = Outcome::closed;
    PoolCache* cache = cache_or(pool, &why);
    if (cache == nullptr) return not_taken(why);
    settle_parked(*cache);
    if (has_life(body_of(pool)) && patience.deadline != Deadline::min()) tend(pool);
    const Taken taken = Waiter{pool, *cache, want, patience}.run();
    if (taken.word == 0 && outcome_of(taken) == Outcome::closed &&
        patience.deadline != Deadline::min()) {
        // Whoever closed it may have died before it ended what was idle.
        Reaped done;
        settle_pool(pool, done, Effort::leaves);
    }
    return taken;
}

}  // namespace lagoon::inline v1::detail
