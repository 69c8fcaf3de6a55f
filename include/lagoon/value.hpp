// value.hpp: one value of any arena-safe type, in shared memory.
//
//   Shape      1, 2, 4 or 8 bytes: one atomic word in one cache line; else two copies and a
//              selector word whose claim names its writer
//   Progress   in one word every call is lock-free and makes no system call unless somebody
//              waits; with two copies readers never block and never write, a writer waits for the
//              writer before it
//   Errors     none here; wait returns timed_out, cancelled, closed
//   Death      a process killed inside a call has changed the value or has not, and never torn
//              it; the claim of a dead writer is undone and the old value stands
//   Edges      W1 -> W2, W3    carries what the writer wrote before it stored;
//              W1, W3 with W4 (value.cpp) order the value and the waiters' mark both ways
#pragma once

#include <algorithm>
#include <concepts>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>

#include <lagoon/arena_safe.hpp>
#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/member_of_arena.hpp>
#include <lagoon/detail/type_name.hpp>
#include <lagoon/detail/value_core.hpp>
#include <lagoon/error.hpp>
#include <lagoon/outcome.hpp>

namespace lagoon::inline v1 {

template <class T>
class alignas(detail::cache_line_bytes) Value {
    static constexpr bool narrow = detail::fits_one_word<T>;
    static constexpr std::size_t words = (sizeof(T) + 7) / 8;

public:
    /// `initial` is what the creator of the arena puts in; whoever opens it finds what is there.
    explicit Value(const char* name, const T& initial = T{}) : cell_{initial} {
        detail::require_arena_safe<T>();
        detail::register_object(this, {.kind = detail::Kind::value,
                                       .name = name,
                                       .element_type = detail::type_name<T>(),
                                       .element_bytes = sizeof(T),
                                       .element_align = alignof(T),
                                       .element_shape = detail::type_shape<T>(),
                                       .object_bytes = sizeof(Value)});
    }
    Value(const Value&) = delete;
    Value& operator=(const Value&) = delete;

    /// The value at some moment during the call, whole.
    [[nodiscard]] T load() const noexcept { return cell_.load(core_); }
    void store(const T& value) noexcept { cell_.store(core_, value); }
    T exchange(const T& value) noexcept {
        return update([&](const T&) { return value; });
    }
    /// Sets the value to `desired` if it equals `expected`; otherwise `expected` becomes what it
    /// is. Compared by == where T has it, else by its bytes.
    bool compare_exchange(T& expected, const T& desired) noexcept {
        bool same = false;
        const T before = update([&](const T& found) {
            same = equal(found, expected);
            return same ? desired : found;
        });
        if (!same) expected = before;
        return same;
    }

    /// Replaces the value by `change(value)` in one step and returns the one before. Narrow:
    /// `change` runs again when somebody came in between. Wide: it runs once, while other
    /// writers wait; when it throws, the old value stands. A child that is forked in a wide one's
    /// `change` has no part in it: an exception there touches nothing, returning prints and aborts.
    template <class Change>
    T update(Change&& change) {
        return cell_.update(core_, std::forward<Change>(change));
    }

    T fetch_add(T operand) noexcept requires std::is_arithmetic_v<T> {
        return update([=](T v) { return wrapped(v, operand, std::plus<>{}); });
    }
    T fetch_sub(T operand) noexcept requires std::is_arithmetic_v<T> {
        return update([=](T v) { return wrapped(v, operand, std::minus<>{}); });
    }
    T fetch_and(T operand) noexcept requires std::integral<T> {
        return update([=](T v) { return static_cast<T>(v & operand); });
    }
    T fetch_or(T operand) noexcept requires std::integral<T> {
        return update([=](T v) { return static_cast<T>(v | operand); });
    }
    T fetch_xor(T operand) noexcept requires std::integral<T> {
        return update([=](T v) { return static_cast<T>(v ^ operand); });
    }
    T fetch_min(T operand) noexcept requires std::totally_ordered<T> {
        return update([=](const T& v) { return std::min(v, operand); });
    }
    T fetch_max(T operand) noexcept requires std::totally_ordered<T> {
        return update([=](const T& v) { return std::max(v, operand); });
    }
    /// Adds unless the sum overflows: then false, and the value stands.
    bool checked_add(T operand) noexcept requires std::integral<T> {
        bool fits = false;
        update([&](T v) {
            T sum{};
            fits = !__builtin_add_overflow(v, operand, &sum);
            return fits ? sum : v;
        });
        return fits;
    }
    /// Each is one step; the result is the value after it.
    T operator+=(T operand) noexcept requires std::is_arithmetic_v<T> {
        return wrapped(fetch_add(operand), operand, std::plus<>{});
    }
    T operator-=(T operand) noexcept requires std::is_arithmetic_v<T> {
        return wrapped(fetch_sub(operand), operand, std::minus<>{});
    }
    operator T() const noexcept { return load(); }

    /// Returns ok once `holds(value)` is true; looks whenever the value changes. `stop` ends the
    /// wait with cancelled. A value that comes and goes between two looks may be missed.
    template <class Predicate>
    Outcome wait(Predicate&& holds, std::stop_token stop = {}) {
        return wait_patiently(holds, {detail::for_ever, std::move(stop)});
    }
    template <class Predicate>
    Outcome wait_until(Predicate&& holds, std::chrono::steady_clock::time_point deadline,
                       std::stop_token stop = {}) {
        return wait_patiently(holds, {deadline, std::move(stop)});
    }
    template <class Predicate, class Rep, class Period>
    Outcome wait_for(Predicate&& holds, std::chrono::duration<Rep, Period> duration,
                     std::stop_token stop = {}) {
        return wait_patiently(holds, {detail::deadline_after(duration), std::move(stop)});
    }

private:
    struct NarrowCell {
        explicit NarrowCell(const T& initial) noexcept : word{initial} {}
        [[nodiscard]] T load(const detail::ValueCore&) const noexcept {
            // W2 acquire load <- W1, W3.
            return word.load(std::memory_order_acquire);
        }
        void look_again(const detail::ValueCore&) const noexcept {
            // W8 seq_cst load, no pair: ordered after the mark W4; a load after it finds nothing
            // older. W2 alone could be done before the mark.
            (void)word.load(std::memory_order_seq_cst);
        }
        void store(detail::ValueCore& core, const T& value) noexcept {
            // W1 seq_cst RMW -> W2, W3: ordered with the waiters' mark W4 in both directions.
            // kept: nobody looks at what was there, so a seq_cst store would do, which on x86 is
            // the same instruction.
            word.exchange(value, std::memory_order_seq_cst);
            detail::value_changed(core);
        }
        template <class Change>
        T update(detail::ValueCore& core, Change&& change) {
            T before = load(core);
            for (;;) {
                const T after = change(std::as_const(before));
                // W3 seq_cst RMW <- W1, W3 -> W2, W3: ordered with the mark W4, as W1. Repeats
                // only when another one's write succeeded.
                if (word.compare_exchange_strong(before, after, std::memory_order_seq_cst,
                                                 std::memory_order_acquire)) {
                    detail::value_changed(core);
                    return before;
                }
            }
        }
        detail::Atomic<T> word;
    };

    struct WideCell {
        explicit WideCell(const T& initial) noexcept { std::memcpy(copies, &initial, sizeof(T)); }
        [[nodiscard]] T load(const detail::ValueCore& core) const noexcept {
            std::uint64_t whole[words];
            detail::read_wide(core, copies, words, whole);
            return from(whole);
        }
        void look_again(const detail::ValueCore& core) const noexcept {
            // W8 seq_cst load, no pair: as in the narrow cell.
            (void)core.selector.load(std::memory_order_seq_cst);
        }
        void store(detail::ValueCore& core, const T& value) noexcept {
            commit(core, detail::claim_wide(core), value);
        }
        template <class Change>
        T update(detail::ValueCore& core, Change&& change) {
            struct Claim {
                detail::ValueCore& core;
                std::uint64_t word = detail::claim_wide(core);
                std::uint64_t epoch = detail::process_epoch();
                bool done = false;
                [[nodiscard]] bool is_own() const noexcept {
                    return detail::is_epoch_of_process(epoch);
                }
                ~Claim() {
                    if (!done && is_own()) detail::abandon_wide(core, word);
                }
            } claim{core};
            const T before = load(core);
            const T after = change(before);
            if (!claim.is_own()) [[unlikely]] {
                detail::contract_failure(
                    "a change of a value returns in a child that was forked in it: the claim is "
                    "still the parent's; end the child in the change, by exec or _exit");
            }
            commit(core, claim.word, after);
            claim.done = true;
            return before;
        }
        void commit(detail::ValueCore& core, std::uint64_t claim, const T& value) noexcept {
            std::uint64_t whole[words] = {};
            std::memcpy(whole, &value, sizeof(T));
            detail::commit_wide(core, claim, copies, words, whole);
        }
        static T from(const std::uint64_t* whole) noexcept {
            alignas(T) unsigned char bytes[sizeof(T)];
            std::memcpy(bytes, whole, sizeof(T));
            return *std::launder(reinterpret_cast<T*>(bytes));
        }
        std::uint64_t copies[2 * words] = {};
    };

    template <class Operation>
    static T wrapped(T a, T b, Operation operation) noexcept {
        if constexpr (std::integral<T> && !std::same_as<T, bool>) {
            using Wide = std::make_unsigned_t<T>;
            return static_cast<T>(operation(static_cast<Wide>(a), static_cast<Wide>(b)));
        } else {
            return static_cast<T>(operation(a, b));
        }
    }
    static bool equal(const T& a, const T& b) noexcept {
        if constexpr (std::equality_comparable<T>) {
            return a == b;
        } else {
            return std::memcmp(&a, &b, sizeof(T)) == 0;
        }
    }

    template <class Predicate>
    Outcome wait_patiently(Predicate& holds, const detail::Patience& patience);

    detail::ValueCore core_{};
    std::conditional_t<narrow, NarrowCell, WideCell> cell_;
};

template <class T>
template <class Predicate>
Outcome Value<T>::wait_patiently(Predicate& holds, const detail::Patience& patience) {
    if (holds(load())) return Outcome::ok;
    detail::Sleeper sleeper{this, core_.event, patience};
    for (;;) {
        // W5 acquire load <- E1: read before the mark, so that a change after it is noticed.
        // kept: it puts the change before W8; the model needs no help for that, for it runs all
        // calls in order.
        const std::uint32_t seen = core_.event.load(std::memory_order_acquire);
        // W4 seq_cst RMW, no pair: the mark; ordered with W1 and W3 both ways, by W8 and W6.
        // kept: a mark over a mark is a mark, so a seq_cst store would do.
        core_.waiters.exchange(1, std::memory_order_seq_cst);
        cell_.look_again(core_);
        if (holds(load())) return Outcome::ok;
        if (sleeper.arena_closed()) return Outcome::closed;
        if (sleeper.stop_requested()) return Outcome::cancelled;
        if (sleeper.expired()) return Outcome::timed_out;
        sleeper.sleep(seen);
    }
}

}  // namespace lagoon::inline v1
