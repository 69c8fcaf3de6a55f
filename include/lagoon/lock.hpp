// lock.hpp: mutual exclusion between all threads of all processes of an arena.
//
//   Shape      one cache line; one 64-bit word names the owner
//   Progress   lock and unlock are one compare-and-swap each while nobody contends; then a
//              waiter sleeps in the kernel until the owner unlocks or dies
//   Errors     lock() by the thread that holds it already, for ever, or unlocking one that is not
//              locked, prints and aborts; threads that share their process's lane are not told
//              apart, and wait. shut_down() ends the waits that have a deadline or a stop token;
//              lock() without either has no way to say so, and waits for the holder
//   Death      the owner's death unlocks it and marks it dirty; whoever locks it next is told,
//              and everybody after, until somebody calls mark_clean()
//   Source     U. Drepper, Futexes Are Tricky, 2011, for the waiters bit; the rest is one word
//   Edges      L2 -> L1   what the holder wrote before unlocking
//              L1 -> L3   the owner's claim of its lane, for whoever asks whether it is dead
#pragma once

#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/member_of_arena.hpp>
#include <lagoon/detail/wait.hpp>
#include <lagoon/outcome.hpp>

namespace lagoon::inline v1 {

struct LockOptions {
    bool strict_owner = false;  ///< only the thread that locked it may unlock it
};

/// How an attempt to lock ended. Converts to true when the lock is held.
class Locked {
public:
    constexpr Locked(Outcome outcome, bool owner_died) noexcept
        : outcome_{outcome}, owner_died_{owner_died} {}
    constexpr operator bool() const noexcept { return outcome_ == Outcome::ok; }
    [[nodiscard]] constexpr Outcome status() const noexcept { return outcome_; }
    /// Of an attempt that holds the lock: an owner died inside, and nobody has called mark_clean()
    /// since.
    [[nodiscard]] constexpr bool owner_died() const noexcept { return owner_died_; }

private:
    Outcome outcome_;
    bool owner_died_;
};

class alignas(detail::cache_line_bytes) Lock {
public:
    explicit Lock(const char* name, LockOptions options = {});
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

    /// Waits for ever.
    Locked lock() noexcept { return lock_patiently({}); }
    Locked lock(std::stop_token stop) {
        return lock_patiently({detail::for_ever, std::move(stop)});
    }
    /// Never waits, makes no system call, but for a thread's first, which takes a lane, and a
    /// forked child's, which attaches; would_block also to the thread that holds it, and while its
    /// owner is dead and nobody has waited for it, attached or called reap() since.
    Locked try_lock() noexcept;
    template <class Rep, class Period>
    Locked try_lock_for(std::chrono::duration<Rep, Period> duration, std::stop_token stop = {}) {
        return lock_patiently({detail::deadline_after(duration), std::move(stop)});
    }
    Locked try_lock_until(std::chrono::steady_clock::time_point deadline,
                          std::stop_token stop = {}) {
        return lock_patiently({deadline, std::move(stop)});
    }
    /// Any thread of any process may unlock, unless `strict_owner` was asked for. So a guard that a
    /// fork has copied unlocks the parent's lock when the child leaves its scope; with
    /// `strict_owner` it prints and aborts there.
    void unlock() noexcept;

    /// True from the repair of an owner's death on, until somebody calls mark_clean().
    [[nodiscard]] bool owner_died() const noexcept;
    /// For the holder, once it has put right what the lock protects.
    void mark_clean() noexcept;
    [[nodiscard]] bool is_locked() const noexcept;
    /// The process that holds it, 0 when nobody does. For display: true when it was read.
    [[nodiscard]] std::uint32_t owner_pid() const noexcept;

private:
    Locked try_lock_as(const detail::LaneView& lane) noexcept;
    Locked lock_patiently(const detail::Patience& patience);
    Locked give_up(Outcome why) noexcept;

    // Bits 0 to 9 owner lane, 10 locked, 11 waiters, 12 dirty; above, one more with every
    // change of owner. The low half is the futex that waiters sleep on.
    detail::Atomic<std::uint64_t> word_{0};
    std::uint32_t strict_owner_;
};

}  // namespace lagoon::inline v1
