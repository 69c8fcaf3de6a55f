// wait.hpp: how anything in an arena sleeps until another process changes it.
//
//   Shape      an event word (a futex) beside whatever is waited for
//   Progress   a waiter sleeps in the kernel; who wakes makes one system call
//   Death      a sleeper watches the members' death words too: the kernel wakes it when a
//              process that could have owed it a wake-up dies
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>

#include <lagoon/detail/atomic.hpp>

namespace lagoon::inline v1::detail {

struct Attachment;

using Deadline = std::chrono::steady_clock::time_point;

constexpr Deadline for_ever = Deadline::max();

/// `duration` from now, without overflow.
template <class Rep, class Period>
Deadline deadline_after(std::chrono::duration<Rep, Period> duration) {
    const auto now = std::chrono::steady_clock::now();
    if (!(duration > duration.zero())) return now;
    using Far = std::chrono::duration<double>;
    if (Far(duration) >= Far(for_ever - now)) return for_ever;
    return now + std::chrono::ceil<std::chrono::steady_clock::duration>(duration);
}

/// How long somebody is willing to wait.
struct Patience {
    Deadline deadline = for_ever;
    std::stop_token stop = {};
};

enum class Woken : std::uint32_t {
    event,     // the event word changed, or somebody woke us
    death,     // a member died and was repaired: look again
    deadline,  // the deadline passed
    cap,       // nothing happened for the length of one sleep: look again
};

/// One waiter's sleeps on one event word. Construct it before announcing the wait; it makes a
/// stop request wake the sleeper.
class Sleeper {
public:
    /// `step` is what a stop request adds to the event word, where other bits of it mean more.
    Sleeper(const void* object, Atomic<std::uint32_t>& event, const Patience& patience,
            std::uint32_t step = 1);
    ~Sleeper();
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;

    /// Sleeps while the event word is `seen`, at the most until the deadline or the cap; or until
    /// `look_at`, when there is something to look at that nobody wakes for.
    Woken sleep(std::uint32_t seen, Deadline look_at = for_ever);

    [[nodiscard]] bool stop_requested() const noexcept { return patience_.stop.stop_requested(); }
    [[nodiscard]] bool expired() const noexcept;
    /// The arena was shut down.
    [[nodiscard]] bool arena_closed() const noexcept;

private:
    struct Poke {
        Atomic<std::uint32_t>* event;
        std::uint32_t step;
        void operator()() const noexcept;
    };

    Woken look_quickly(std::uint32_t seen, Deadline look_at, bool* dying);

    Attachment* attachment_;
    std::uint64_t epoch_;  // of the process that waits: a forked child has no part in its sleeps
    Atomic<std::uint32_t>& event_;
    const Patience& patience_;
    std::optional<std::stop_callback<Poke>> poke_;
    std::uint64_t cap_ns_;
    Deadline cap_at_ = for_ever;  // of a sleep that was only interrupted by a look; else for_ever
    std::uint32_t rotation_ = 0;
    // For a death that was announced and is not proved yet.
    std::uint32_t polls_ = 0;
    int quick_looks_ = 0;
};

/// Moves the event word on and wakes up to `sleepers` of those who sleep on it.
void wake(Atomic<std::uint32_t>& event, int sleepers) noexcept;
constexpr int everybody = 0x7fffffff;

}  // namespace lagoon::inline v1::detail
