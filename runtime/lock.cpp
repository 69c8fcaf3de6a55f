// lock.cpp: the Lock, past what its word alone decides.
//
//   killed                              leaves
//   before the CAS                      nothing
//   as the owner                        LOCKED(dead): unlocked and dirty by whoever repairs
//   between unlock and wake             a sleeper that the kernel wakes for this death
//   waiter, woken, before it locks      its own death wakes the next
#include <bit>

#include <lagoon/error.hpp>
#include <lagoon/lock.hpp>

#include "attachment.hpp"
#include "lanes.hpp"
#include "os.hpp"
#include "reap.hpp"

namespace lagoon::inline v1 {

namespace {

using detail::Atomic;

constexpr std::uint64_t lane_mask = 0x3ff;
constexpr std::uint64_t locked_bit = 1 << 10;
constexpr std::uint64_t waiters_bit = 1 << 11;
constexpr std::uint64_t dirty_bit = 1 << 12;
constexpr std::uint64_t one_change = 1 << 13;
constexpr int spins = detail::spin_rounds(100);

std::uint32_t lane_in(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word & lane_mask);
}
constexpr std::uint64_t locked_by(std::uint64_t word, std::uint32_t lane) noexcept {
    return ((word & ~lane_mask) | locked_bit | lane) + one_change;
}
constexpr std::uint64_t unlocked(std::uint64_t word) noexcept {
    return (word & ~(lane_mask | locked_bit | waiters_bit)) + one_change;
}

/// The half of the word that a futex can watch: all flags and the low bits of the count.
Atomic<std::uint32_t>& futex_half(Atomic<std::uint64_t>& word) noexcept {
    static_assert(std::endian::native == std::endian::little);
    return *static_cast<Atomic<std::uint32_t>*>(word.address());
}

void wake_waiters(Atomic<std::uint64_t>& word, int count) noexcept {
    os::futex_wake(futex_half(word), count);
}

}  // namespace

namespace detail {

bool repair_lock(Atomic<std::uint64_t>& word, const DeadLanes& dead) noexcept {
    // L3 acquire load <- L1, L2, L7: or a lane's new owner could be taken for the dead one.
    std::uint64_t found = word.load(std::memory_order_acquire);
    while ((found & locked_bit) != 0 && dead.names(lane_in(found))) {
        // L2 release RMW -> L1, L3: what the dead wrote is handed on, marked dirty; the proof of
        // the death has brought it here. The waiters bit goes, for all of them are woken and set
        // it again.
        if (word.compare_exchange_strong(found, unlocked(found) | dirty_bit,
                                         std::memory_order_release, std::memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

void wake_lock(Atomic<std::uint64_t>& word) noexcept { wake_waiters(word, everybody); }

void hand_over_lock(Atomic<std::uint64_t>& word, std::uint32_t lane, std::uint32_t to) noexcept {
    // L4 relaxed load, no pair: a guess for L7.
    std::uint64_t found = word.load(std::memory_order_relaxed);
    while ((found & locked_bit) != 0 && lane_in(found) == lane) {
        // L7 release RMW -> L1, L3: the same lock, owned by the process now; what the thread wrote
        // goes with it, whoever unlocks it.
        if (word.compare_exchange_strong(found, (found & ~lane_mask) | to,
                                         std::memory_order_release, std::memory_order_relaxed)) {
            return;
        }
    }
}

}  // namespace detail

Lock::Lock(const char* name, LockOptions options) : strict_owner_{options.strict_owner ? 1U : 0U} {
    static_assert(offsetof(Lock, word_) == 0);
    detail::register_object(this, {.kind = detail::Kind::lock,
                                   .name = name,
                                   .element_type = "lock",
                                   .element_bytes = sizeof(std::uint64_t),
                                   .element_align = alignof(std::uint64_t),
                                   .object_bytes = sizeof(Lock)});
}

Locked Lock::try_lock() noexcept {
    Outcome why = Outcome::closed;
    const detail::LaneView* lane = detail::lane_or(this, &why);
    return lane != nullptr ? try_lock_as(*lane) : Locked{why, false};
}

Locked Lock::try_lock_as(const detail::LaneView& lane) noexcept {
    // L4 relaxed load, no pair: a guess for L1.
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while ((word & locked_bit) == 0) {
        // L1 acq_rel RMW <- L2, L7 -> L3: names the owner in the claiming instruction.
        if (word_.compare_exchange_strong(word, locked_by(word, lane.lane),
                                          std::memory_order_acq_rel, std::memory_order_relaxed)) {
            return {Outcome::ok, (word & dirty_bit) != 0};
        }
    }
    return {Outcome::would_block, false};
}

Locked Lock::lock_patiently(const detail::Patience& patience) {
    const bool limited = patience.deadline != detail::for_ever || patience.stop.stop_possible();
    if (limited) {
        Outcome why = Outcome::closed;
        if (detail::lane_or(this, &why) == nullptr) return {why, false};
    }
    const detail::LaneView& lane = detail::lane_of(this);
    for (int i = 0; i < spins; ++i) {
        if (const Locked locked = try_lock_as(lane)) return locked;
        // L4 relaxed load, no pair: what this thread itself has written.
        const std::uint64_t word = word_.load(std::memory_order_relaxed);
        if (!limited && !lane.shared && (word & locked_bit) != 0 && lane_in(word) == lane.lane) {
            detail::contract_failure(
                "a lock is locked twice by one thread, which would wait for "
                "itself for ever");
        }
        detail::cpu_relax();
    }
    // A stop request counts as one change more; a carry out of the half that is lost is no loss.
    detail::Sleeper sleeper{this, futex_half(word_), patience,
                            static_cast<std::uint32_t>(one_change)};
    for (;;) {
        // L3 acquire load <- L1, L2, L7: a guess for L1 and L5, and before a look at the owner's
        // lane.
        std::uint64_t word = word_.load(std::memory_order_acquire);
        if ((word & locked_bit) == 0) {
            // L1 acq_rel RMW <- L2, L7 -> L3: with the waiters bit, for others may sleep still.
            // kept: release would do, for L3 has taken over what came with this very word.
            if (word_.compare_exchange_strong(word, locked_by(word, lane.lane) | waiters_bit,
                                              std::memory_order_acq_rel,
                                              std::memory_order_relaxed)) {
                return {Outcome::ok, (word & dirty_bit) != 0};
            }
            continue;
        }
        if (!detail::lane_lives(*lane.attachment, lane_in(word))) {
            // Nobody's: written by something else. As after a death.
            // L2 release RMW -> L1, L3: every change counts, so the word that is there still was
            // there when the lane was looked at. kept: nobody has written under this lock, and what
            // came before goes on with an RMW of any order.
            (void)word_.compare_exchange_strong(word, unlocked(word) | dirty_bit,
                                                std::memory_order_release,
                                                std::memory_order_relaxed);
            continue;
        }
        if (limited && sleeper.arena_closed()) return {Outcome::closed, false};
        if (sleeper.stop_requested()) return give_up(Outcome::cancelled);
        if (sleeper.expired()) return give_up(Outcome::timed_out);
        // L5 relaxed RMW, no pair: only marks that somebody sleeps.
        if ((word & waiters_bit) == 0 &&
            !word_.compare_exchange_strong(word, word | waiters_bit, std::memory_order_relaxed,
                                           std::memory_order_relaxed)) {
            continue;
        }
        sleeper.sleep(static_cast<std::uint32_t>(word | waiters_bit));
    }
}

Locked Lock::give_up(Outcome why) noexcept {
    // A wake-up that was meant for us is the next waiter's: now, or by whoever holds the lock.
    // L4 relaxed load, no pair: a guess for L5.
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while ((word & locked_bit) != 0 && (word & waiters_bit) == 0) {
        // L5 relaxed RMW, no pair: only marks that somebody sleeps.
        if (word_.compare_exchange_strong(word, word | waiters_bit, std::memory_order_relaxed,
                                          std::memory_order_relaxed)) {
            break;
        }
    }
    if ((word & locked_bit) == 0) wake_waiters(word_, 1);
    return {why, false};
}

void Lock::unlock() noexcept {
    // L4 relaxed load, no pair: a guess for L2.
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (strict_owner_ != 0) {
        const detail::LaneView& lane = detail::lane_of(this);
        if ((word & locked_bit) != 0 && lane_in(word) != lane.lane) {
            detail::contract_failure(
                "a lock with strict_owner is unlocked by another thread "
                "than the one that locked it");
        }
    }
    do {
        if ((word & locked_bit) == 0) detail::contract_failure("a lock is unlocked that is free");
        // L2 release RMW -> L1, L3: what the holder wrote. What came with L7 goes on with it, for
        // an RMW continues a release sequence. Repeats when a waiter marks.
    } while (!word_.compare_exchange_strong(word, unlocked(word), std::memory_order_release,
                                            std::memory_order_relaxed));
    if ((word & waiters_bit) != 0) wake_waiters(word_, 1);
}

bool Lock::owner_died() const noexcept {
    // L3 acquire load <- L1, L2, L7. kept: for whoever holds the lock, L1 has brought it along.
    return (word_.load(std::memory_order_acquire) & dirty_bit) != 0;
}

void Lock::mark_clean() noexcept {
    // L6 relaxed RMW, no pair: one flag changes, the owner and all else stay; what the holder
    // wrote goes with L2.
    word_.fetch_and(~dirty_bit, std::memory_order_relaxed);
}

bool Lock::is_locked() const noexcept {
    // L3 acquire load <- L1, L2, L7. kept: whoever acts on the answer goes through L1.
    return (word_.load(std::memory_order_acquire) & locked_bit) != 0;
}

std::uint32_t Lock::owner_pid() const noexcept {
    // L3 acquire load <- L1, L2, L7. kept: for display.
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    const detail::Attachment* attachment = detail::attachment_of(this);
    if ((word & locked_bit) == 0 || attachment == nullptr) return 0;
    return detail::pid_of_lane(*attachment, lane_in(word));
}

}  // namespace lagoon::inline v1
