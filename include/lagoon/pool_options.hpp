// pool_options.hpp: how a pool is made, what its resources need, and what it tells of itself.
//
//   Shape      aggregates; the order of the fields is part of the API
#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include <lagoon/count.hpp>
#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/word.hpp>
#include <lagoon/pool_creation.hpp>
#include <lagoon/pool_life.hpp>
#include <lagoon/pool_limits.hpp>

namespace lagoon::inline v1 {

/// What becomes of a resource whose borrower died.
enum class OnDeath : std::uint32_t {
    check_then_reuse,  ///< check hook; where no process has one, lent again with recovered() set
    reuse,             ///< lent again at once, recovered() set
    reset_then_reuse,  ///< reset hook
    destroy,           ///< destroy hook, the slot becomes empty
    quarantine,        ///< lent no more until clear()
};

/// Who is served of those who wait.
enum class WaitOrder : std::uint32_t {
    /// Whoever comes to it first: one that waits can be passed any number of times.
    any,
    /// Whoever has waited longest; the try_ forms, too, leave alone what is due to others. A longer
    /// path, with a membarrier where somebody waits, and a cache line per lane. A stopped process
    /// keeps what is due to it, no more. Threads that share a lane stand where their first stands.
    /// One that holds a resource and waits for another may block who wants several, for ever.
    first_come,
};

struct PoolOptions {
    Count capacity = 0;  ///< resources that can exist at one time
    OnDeath on_death = OnDeath::check_then_reuse;
    Count max_waiters = 0;               ///< more threads are turned away; 0: no limit
    bool dense = false;                  ///< 16 bytes per slot beside the value
    std::uint32_t quarantine_after = 3;  ///< processes dead over one filling, to 15; 0: never
    PoolLife life = {};                  ///< when resources are ended, and looked at
    PoolCreation creation = {};          ///< how many are made at one time, and when again
    WaitOrder wait_order = WaitOrder::any;
    PoolLimits limits = {};  ///< how long factories and hooks may take
};

/// A place in a pool. `fill` changes when a new resource is put in, and only then.
class Slot {
public:
    constexpr Slot(std::uint64_t index, std::uint64_t fill) noexcept : index_{index}, fill_{fill} {}
    [[nodiscard]] constexpr std::uint64_t index() const noexcept { return index_; }
    [[nodiscard]] constexpr std::uint64_t fill() const noexcept { return fill_; }
    friend bool operator==(const Slot&, const Slot&) = default;

private:
    std::uint64_t index_;
    std::uint64_t fill_;
};

/// Code that takes a resource, or the resource and its slot, or these and when it is to have ended.
template <class F, class T>
concept TakesResource = std::invocable<F&, T&> || std::invocable<F&, T&, Slot> ||
    std::invocable<F&, T&, Slot, std::chrono::steady_clock::time_point>;

namespace detail {
template <class F, class T>
decltype(auto) call_with(F& code, T& resource, Slot slot,
                         std::chrono::steady_clock::time_point until) {
    if constexpr (std::invocable<F&, T&, Slot, std::chrono::steady_clock::time_point>) {
        return code(resource, slot, until);
    } else if constexpr (std::invocable<F&, T&, Slot>) {
        return code(resource, slot);
    } else {
        return code(resource);
    }
}
}  // namespace detail

/// What a factory may be: makes a T, or fills the T of a slot in place.
template <class F, class T>
concept PoolFactory = TakesResource<F, T> ||
    (std::invocable<F&>&& std::convertible_to<std::invoke_result_t<F&>, T>);

namespace detail {
/// Aborts in a child that was forked in a factory: the slot is its parent's.
void require_own_build(std::uint64_t epoch) noexcept;

/// The value of a slot that is being filled.
template <class T, class F>
void make_at(void* at, F& make, Slot slot, std::chrono::steady_clock::time_point until) {
    const std::uint64_t epoch = process_epoch();
    if constexpr (TakesResource<F, T>) {
        call_with(make, *::new (at) T{}, slot, until);
        require_own_build(epoch);
    } else {
        const T made = make();
        require_own_build(epoch);
        ::new (at) T{made};
    }
}
}  // namespace detail

/// Code that makes a resource.
template <class T>
class Factory {
public:
    using Until = std::chrono::steady_clock::time_point;

    Factory() noexcept = default;
    Factory(std::nullptr_t) noexcept {}
    template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, Factory> && PoolFactory<F, T>)
        Factory(F code)  // NOLINT: any callable is a factory
        : code_{[code = std::move(code)](void* at, Slot slot, Until until) mutable {
              detail::make_at<T>(at, code, slot, until);
          }} {}

    explicit operator bool() const noexcept { return static_cast<bool>(code_); }
    void operator()(void* at, Slot slot, Until until = Until::max()) const {
        code_(at, slot, until);
    }

private:
    std::function<void(void*, Slot, Until)> code_;
};

/// Code for a resource.
template <class T, class Result>
class Hook {
public:
    using Until = std::chrono::steady_clock::time_point;

    Hook() noexcept = default;
    Hook(std::nullptr_t) noexcept {}
    template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, Hook> && TakesResource<F, T>)
        Hook(F code)  // NOLINT: any callable is a hook
        : code_{[code = std::move(code)](T& resource, Slot slot, Until until) mutable -> Result {
              return call(code, resource, slot, until);
          }} {}

    explicit operator bool() const noexcept { return static_cast<bool>(code_); }
    Result operator()(T& resource, Slot slot, Until until = Until::max()) const {
        return code_(resource, slot, until);
    }

private:
    template <class F>
    static Result call(F& code, T& resource, Slot slot, Until until) {
        const auto run = [&]() -> decltype(auto) {
            return detail::call_with(code, resource, slot, until);
        };
        if constexpr (std::is_void_v<Result>) {
            run();
        } else if constexpr (std::is_void_v<decltype(run())>) {
            run();
            return true;  // a check or reset that returns nothing has passed unless it throws
        } else {
            return static_cast<Result>(run());
        }
    }

    std::function<Result(T&, Slot, Until)> code_;
};

/// A lease that has been held for longer than PoolLife::lease_limit.
struct OverdueLease {
    std::uint64_t index = 0;
    std::uint64_t fill = 0;
    std::uint32_t owner_pid = 0;  ///< 0 where it is not known here
    std::chrono::milliseconds held_for{0};
};

/// What a pool's resources need. Hooks run in the process that has them, one at a time per
/// resource, while no one else can take it. A hook that throws: on_create fails the creation,
/// check and reset have not passed, destroy has done its work. For how long: PoolLimits.
template <class T>
struct PoolHooks {
    Hook<T, void> on_create = {};  ///< after a factory or add() has filled the slot
    Hook<T, bool> check = {};      ///< true: still good
    Hook<T, bool> reset = {};      ///< true: good again
    Hook<T, void> destroy = {};    ///< before the slot becomes empty; also gets what a dead
                                   ///< builder left half-built
    /// Once for each lease past the lease_limit, in one of the processes that have this hook: by
    /// whoever takes, waits or drains there, 64 slots eight times in that time, or by reap(). The
    /// resource is its borrower's. A death in it, or an exception, and it is told by nobody else.
    std::function<void(const OverdueLease&)> on_overdue = {};
    /// With it acquire() and its forms that wait have a resource made, where none is idle and there
    /// is a place, and take what comes first, a return or that. It runs on a thread of its own, one
    /// for each resource, and goes on when who asked for it has left: what it makes is then idle,
    /// and the next one who waits here need not ask again. Not begun by then, it is not run, unless
    /// the pool has a PoolCreation::retry_after. An exception reaches who waits for it and finds
    /// nothing else. It owns what it uses; a child process that is to die with its parent
    /// (PR_SET_PDEATHSIG) would die with the thread. Where no thread is to be had it runs in who
    /// waits, to its end.
    Factory<T> factory = {};
};

/// Counts since the arena was made, and fill levels now. Each is exact on its own, but that
/// `acquired` has what acquire_n took and gave back because it was too little; together they are of
/// one moment only when nothing moves.
struct PoolStats {
    std::uint64_t capacity = 0;
    std::uint64_t idle = 0;
    std::uint64_t leased = 0;
    std::uint64_t empty = 0;
    std::uint64_t creating = 0;
    std::uint64_t dirty = 0;
    std::uint64_t maintained = 0;  ///< checking or closing
    std::uint64_t quarantined = 0;
    std::uint64_t waiting = 0;  ///< lanes that announced a wait

    std::uint64_t acquired = 0;
    std::uint64_t created = 0;    ///< fillings that were completed
    std::uint64_t destroyed = 0;  ///< resources ended, with or without a hook
    std::uint64_t create_failed = 0;
    std::uint64_t recovered = 0;  ///< taken back from dead borrowers
    std::uint64_t quarantines = 0;
    std::uint64_t hooks_missing = 0;  ///< times a slot was left DIRTY for want of a hook
    std::uint64_t waits = 0;          ///< acquisitions that began to wait, asleep or not
    std::uint64_t timed_out = 0;
    std::uint64_t late_wakes = 0;  ///< found after a sleep that nobody ended or tried to end
    std::uint64_t damaged = 0;     ///< slots that something else changed under their owner

    // Resources that were ended, by why; also those that are DIRTY until somebody runs destroy.
    std::uint64_t ended_by_lifetime = 0;
    std::uint64_t ended_by_uses = 0;
    std::uint64_t ended_by_idle = 0;
    std::uint64_t ended_by_failures = 0;  ///< marked broken, or reported max_failures times
    std::uint64_t ended_by_check = 0;     ///< of validate_after

    std::chrono::nanoseconds retry_in{0};  ///< until a creation is tried again, after failures

    /// `acquired` less `created`: how often something was reused, where acquire_or_create alone
    /// makes what there is; what add() or a PoolHooks::factory fills is taken off, too.
    [[nodiscard]] std::uint64_t reused() const noexcept {
        return acquired > created ? acquired - created : 0;
    }
};

enum class SlotStatus : std::uint32_t {
    empty,
    creating,
    idle,
    leased,
    dirty,
    checking,
    closing,
    quarantined,
    retired
};
const char* to_string(SlotStatus status) noexcept;

/// One slot, as snapshot() saw it.
template <class T>
struct SlotInfo {
    std::uint64_t index = 0;
    SlotStatus state = SlotStatus::empty;
    std::uint64_t fill = 0;
    std::uint32_t owner_pid = 0;  ///< 0 where nobody owns it
    std::uint64_t uses = 0;       ///< changes of ownership of this slot, halved
    bool recovered = false;
    std::chrono::nanoseconds age{0};  ///< since this process first saw it in this state
    std::optional<T> value = {};      ///< only of slots that were idle
};

}  // namespace lagoon::inline v1
