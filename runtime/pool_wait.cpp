// pool_wait.cpp: waiting for a slot or a place.
//
//   killed                                leaves
//   waiter, with its mark                 as in pool_demand.cpp
//   waiter, woken, before it takes        its own death wakes another sleeper
#include <algorithm>
#include <thread>
#include <utility>

#include <lagoon/error.hpp>

#include "os.hpp"
#include "pool_body.hpp"
#include "pool_creation.hpp"
#include "pool_life.hpp"
#include "pool_making.hpp"
#include "pool_queue.hpp"
#include "pool_times.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t full_scan_slots = 1024;  // above, hints are trusted until a cap or a death
constexpr int most_spins = spin_rounds(200);     // a few microseconds
constexpr int most_looks = spin_rounds(8);       // of one who was woken in vain

}  // namespace

Effort effort_of(const PoolBody& body) noexcept {
    return body.capacity <= full_scan_slots ? Effort::slots : Effort::leaves;
}

Settled settle_dirty(PoolObject& pool, const Patience& patience, Effort effort,
                     Phase* failed) noexcept {
    if (patience.deadline == Deadline::min()) return Settled::nothing;
    HintTree hints = hints_of(body_of(pool), Hint::dirty);
    if (effort == Effort::hints && hints.next_leaf(0) == no_index) return Settled::nothing;
    Reaped done;
    const Phase last = settle_pool(pool, done, effort);
    if (failed != nullptr && last != Phase::none) *failed = last;
    return done.hooks_run != 0 ? Settled::ran_hooks : Settled::looked;
}

namespace {

/// One acquisition that may have to wait.
class Waiter {
public:
    /// `tended`: what tend() has just said.
    Waiter(PoolObject& pool, PoolCache& cache, Want want, const Patience& patience, Phase tended)
        : pool_{pool},
          body_{body_of(pool)},
          cache_{cache},
          lane_{lane_of(&pool)},
          want_{want},
          patience_{patience},
          request_{pool, *cache.own},
          tended_{tended} {}

    Taken run() {
        const bool tries = patience_.deadline == Deadline::min();
        Taken taken = try_once(tries ? Effort::tried : Effort::hints);
        if (is_final(taken)) return taken;
        if (patience_.deadline <= std::chrono::steady_clock::now()) return give_up(taken);
        if (patience_.stop.stop_requested()) return not_taken(Outcome::cancelled, phase());
        // With one CPU for both sides spinning is in the way, so it is short, and soon left out.
        SpinBudget& budget = cache_.own->spins;
        for (int i = 0, rounds = budget.rounds(most_spins); i < rounds; ++i) {
            cpu_relax();
            if (i % 20 != 19) continue;
            taken = take_good(Effort::hints);
            if (!is_final(taken)) continue;
            budget.worked();
            return taken;
        }
        budget.was_in_vain();
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
        if (turn_ == Turn::busy || request_.is_under_way()) return Phase::creating;
        if (turn_ == Turn::later) return Phase::retrying;
        return failed_ != Phase::none ? failed_ : Phase::waiting;
    }

    /// What is idle, once it has passed the check that it may want.
    Taken take_good(Effort effort) {
        for (;;) {
            const Taken taken = take_idle(pool_, cache_, effort);
            if (taken.word == 0 || effort == Effort::tried || !has_life(body_)) return taken;
            if (place_ != nullptr && body_.life.validates != 0) place_->step_aside();
            const Taken good = checked(pool_, cache_, taken);
            if (good.word != 0) return good;
            // That resource is ended. Each round ends one, and none begins past the deadline.
            ran_hooks_ = true;
            failed_ = Phase::checking;
            if (patience_.stop.stop_requested() ||
                patience_.deadline <= std::chrono::steady_clock::now()) {
                return good;
            }
        }
    }

    Settled settle(Effort effort) {
        if (place_ != nullptr && is_queued(body_) && can_settle(pool_, effort)) {
            place_->step_aside();
        }
        const Settled settled = settle_dirty(pool_, patience_, effort, &failed_);
        if (settled == Settled::ran_hooks) ran_hooks_ = true;
        return settled;
    }

    /// Who waits has one made by this process's factory.
    [[nodiscard]] bool requests() const noexcept {
        return want_ == Want::idle && place_ != nullptr && !cache_.settling &&
               request_.is_possible() && ended_ == CreationRequest::Ended::no;
    }
    [[nodiscard]] bool wants_place() const noexcept {
        return want_ == Want::idle_or_building || (requests() && !request_.is_under_way());
    }

    /// A place for a new resource, if it is our turn to make one; or it is being made there.
    Taken take_place(Effort effort) {
        if (!requests()) return claim_place(cache_.lane, effort);
        Taken place = not_taken(Outcome::would_block);
        if (!request_.adopt()) {
            place = claim_place(lane_.member, effort);
            if (place.word == 0) return place;
        }
        place_->want_place(false);
        // A thread of the process fills it.
        if (place.word != 0 && !request_.start(place)) run_here();
        return not_taken(Outcome::would_block);
    }

    /// There is no thread for the factory: it runs as a hook does.
    void run_here() {
        place_->step_aside();
        ran_hooks_ = true;
        request_.run_here();
    }

    Taken claim_place(std::uint32_t lane, Effort effort) {
        turn_ = ask_turn(body_);
        if (turn_ != Turn::mine || (is_queued(body_) && !place_is_left(pool_, cache_))) {
            return not_taken(Outcome::would_block);
        }
        const Taken place = take_empty(body_, lane, effort);
        if (place.word == 0) return place;
        turn_ = take_turn(body_, place);
        if (turn_ == Turn::mine) return place;
        make_empty(pool_, place.index, place.word);
        return not_taken(Outcome::would_block);
    }

    Taken try_once(Effort effort) {
        ran_hooks_ = false;
        failed_ = std::exchange(tended_, Phase::none);
        turn_ = Turn::mine;
        Taken taken = take_good(effort);
        if (is_final(taken)) return taken;
        // What is over is ended before another one is made; and none is made if something came back
        // while a hook ran.
        if (has_life(body_) && effort != Effort::tried && settle(effort) == Settled::ran_hooks) {
            taken = take_good(effort);
            if (is_final(taken)) return taken;
        }
        if (wants_place()) {
            const Taken place = take_place(effort);
            if (is_final(place)) return place;
        }
        if (settle(effort) == Settled::nothing && !ran_hooks_) return taken;
        taken = take_good(effort);
        if (!is_final(taken) && wants_place()) {
            const Taken place = take_place(effort);
            if (is_final(place)) return place;
        }
        return taken;
    }

    /// When there is something to look at that nobody wakes for.
    [[nodiscard]] Deadline look_at() const noexcept {
        const Deadline tell = std::min(next_tell(pool_), request_.late_at());
        if (turn_ != Turn::later) return tell;
        return std::min(tell, Deadline{std::chrono::nanoseconds{next_try_ns(body_)}});
    }

    /// Woken, and mostly there is something. If somebody else was quicker, this looks again after
    /// others have run: a new mark costs whoever gives back next a wake-up, which may be as vain.
    Taken look_on(const Sleeper& sleeper) noexcept {
        for (int i = 0; i < most_looks; ++i) {
            if (i != 0) std::this_thread::yield();
            if (sleeper.stop_requested() || sleeper.expired()) break;
            const Taken taken = take_idle(pool_, cache_, Effort::hints);
            if (is_final(taken)) return taken;
            if (can_settle(pool_, Effort::hints)) break;
        }
        return not_taken(Outcome::would_block);
    }
    /// Only where nothing but a return is waited for, and taking it runs no hook.
    [[nodiscard]] bool may_look_on() const noexcept {
        return !wants_place() && !is_queued(body_) && !has_life(body_);
    }

    Taken wait() {
        PlaceInQueue place{pool_, cache_, lane_, 1, want_ == Want::idle_or_building};
        if (!may_wait(pool_, lane_)) return not_taken(Outcome::too_many_waiters);
        place_ = &place;
        Sleeper sleeper{&pool_, place.event(), patience_};
        count(body_.waits);
        Woken woken = Woken::event;
        Taken taken = not_taken(Outcome::timed_out);
        bool unasked = false;  // the last sleep ended by its cap, and nobody had moved the event
        std::uint32_t slept_on = 0;
        for (;;) {
            if (std::chrono::steady_clock::now() >= next_tell(pool_)) {
                place.step_aside();
                tell_overdue(pool_, Piece::next);
            }
            // D2 acquire load <- D4, E1: read before the mark. kept: as D4.
            const std::uint32_t seen = place.event().load(std::memory_order_acquire);
            unasked = woken == Woken::cap && seen == slept_on;
            slept_on = seen;
            ended_ = request_.look();
            place.want_place(wants_place());
            const bool was_announced = place.is_announced();
            place.announce();
            heavy_fence(cache_.others_light);
            // Nobody could tell us of its end before.
            if (!was_announced && ended_ == CreationRequest::Ended::no) ended_ = request_.look();
            taken = try_once(woken != Woken::event ? Effort::slots : effort_of(body_));
            if (is_final(taken)) break;
            if (ended_ != CreationRequest::Ended::no) {
                taken = not_taken(Outcome::timed_out, Phase::creating);
                break;
            }
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
            if (!ran_hooks_ && place.is_announced()) {
                woken = sleeper.sleep(seen, look_at());
                if (woken == Woken::event && may_look_on()) {
                    unasked = false;
                    taken = look_on(sleeper);
                    if (is_final(taken)) break;
                }
            }
            place.pause();
        }
        if (taken.word != 0 && unasked) count(body_.late_wakes);
        return end_wait(place, taken);
    }

    Taken end_wait(PlaceInQueue& place, Taken taken) {
        place_ = nullptr;
        request_.leave();
        place.leave();
        if (taken.word == 0) {
            // The wake-up that we may have been given is somebody else's now.
            wake_for_place(pool_);
            if (request_.error() != nullptr) std::rethrow_exception(request_.error());
        }
        return taken;
    }

    PoolObject& pool_;
    PoolBody& body_;
    PoolCache& cache_;
    const LaneView& lane_;
    Want want_;
    const Patience& patience_;
    CreationRequest request_;
    CreationRequest::Ended ended_ = CreationRequest::Ended::no;
    Phase tended_;                   // until the first look
    PlaceInQueue* place_ = nullptr;  // while it waits
    // Of the last look.
    bool ran_hooks_ = false;
    Phase failed_ = Phase::none;  // whose hook has passed none of those that it met
    Turn turn_ = Turn::mine;
};

}  // namespace

Taken pool_acquire(PoolObject& pool, Want want, const Patience& patience) {
    Outcome why = Outcome::closed;
    PoolCache* cache = cache_or(pool, &why);
    if (cache == nullptr) return not_taken(why);
    settle_parked(*cache);
    const WaitClock clock{body_of(pool)};
    Phase tended = Phase::none;
    if (has_life(body_of(pool)) && patience.deadline != Deadline::min()) tended = tend(pool);
    const Taken taken = Waiter{pool, *cache, want, patience, tended}.run();
    if (taken.word != 0 && patience.deadline != Deadline::min()) clock.count();
    if (taken.word == 0 && outcome_of(taken) == Outcome::closed &&
        patience.deadline != Deadline::min()) {
        // Whoever closed it may have died before it ended what was idle.
        Reaped done;
        (void)settle_pool(pool, done, Effort::leaves);
    }
    return taken;
}

}  // namespace lagoon::inline v1::detail
