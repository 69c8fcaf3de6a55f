// spin_budget.hpp: how long a loop may wait for another CPU before it sleeps.
#pragma once

#include <algorithm>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>

namespace lagoon::inline v1::detail {

/// Of one process, for one thing that its threads wait for: `most` rounds at first, half as many
/// after each loop that was in vain, and all of them again after one that was not. Every 16th time
/// all of them, to find out. Two threads may count as one: it is a hint.
class SpinBudget {
public:
    [[nodiscard]] int rounds(int most) const noexcept {
        const std::uint32_t futile = futile_now();
        return futile % asks_again == 0 ? most : most >> std::min(futile, longest_shift);
    }
    void worked() noexcept { put(0); }
    void was_in_vain() noexcept { put(futile_now() + 1); }

private:
    static constexpr std::uint32_t asks_again = 16;
    static constexpr std::uint32_t longest_shift = 16;

    [[nodiscard]] std::uint32_t futile_now() const noexcept {
        // D9 relaxed load, no pair: a hint, in private memory.
        return futile_.load(std::memory_order_relaxed);
    }
    void put(std::uint32_t futile) noexcept {
        // D10 relaxed store, no pair: as D9.
        futile_.store(futile, std::memory_order_relaxed);
    }

    Atomic<std::uint32_t> futile_{0};
};

}  // namespace lagoon::inline v1::detail
