// door.hpp: what stands behind detail/atomic.hpp in a model: every call is a step of the engine.
//
// Included by that header where LAGOON_ATOMIC names this file. A call knows its place in the
// source, by which LAGOON_MODEL_WEAKEN makes one of them weaker than it is written (weaken.hpp).
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace model {

/// Where a call stands.
struct Site {
    const char* file;
    unsigned line;
};
constexpr Site here(const char* file = __builtin_FILE(),
                    unsigned line = __builtin_LINE()) noexcept {
    return {file, line};
}

enum class Update { exchange, add, subtract, bit_and, bit_or, bit_xor };

std::uint64_t atomic_load(const void* at, unsigned size, std::memory_order order, Site site);
void atomic_store(void* at, unsigned size, std::uint64_t value, std::memory_order order, Site site);
std::uint64_t atomic_update(void* at, unsigned size, Update what, std::uint64_t operand,
                            std::memory_order order, Site site);
bool atomic_compare_exchange(void* at, unsigned size, std::uint64_t& expected,
                             std::uint64_t desired, std::memory_order success,
                             std::memory_order failure, Site site);
bool heavy_fence_at(Site site) noexcept;
/// What the actor has seen goes with every store behind this, of whatever order.
void release_fence_at(Site site) noexcept;
void relax();

/// As lagoon's, by the same members.
template <class T, class Word>
class Atomic {
public:
    constexpr Atomic() noexcept = default;
    constexpr explicit Atomic(T value) noexcept : value_{word_of(value)} {}
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    T load(std::memory_order order, Site site = here()) const noexcept {
        return from(atomic_load(&value_, sizeof value_, order, site));
    }
    void store(T value, std::memory_order order, Site site = here()) noexcept {
        atomic_store(&value_, sizeof value_, bits(value), order, site);
    }
    T exchange(T value, std::memory_order order, Site site = here()) noexcept {
        return update(Update::exchange, value, order, site);
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                                 std::memory_order failure, Site site = here()) noexcept {
        std::uint64_t found = bits(expected);
        const bool done = atomic_compare_exchange(&value_, sizeof value_, found, bits(desired),
                                                  success, failure, site);
        if (!done) expected = from(found);
        return done;
    }
    T fetch_add(T operand, std::memory_order order, Site site = here()) noexcept {
        return update(Update::add, operand, order, site);
    }
    T fetch_sub(T operand, std::memory_order order, Site site = here()) noexcept {
        return update(Update::subtract, operand, order, site);
    }
    T fetch_and(T operand, std::memory_order order, Site site = here()) noexcept {
        return update(Update::bit_and, operand, order, site);
    }
    T fetch_or(T operand, std::memory_order order, Site site = here()) noexcept {
        return update(Update::bit_or, operand, order, site);
    }
    T fetch_xor(T operand, std::memory_order order, Site site = here()) noexcept {
        return update(Update::bit_xor, operand, order, site);
    }
    void* address() const noexcept { return const_cast<Word*>(&value_); }

private:
    static constexpr Word word_of(T value) noexcept {
        if constexpr (std::is_same_v<Word, T>) {
            return value;
        } else {
            return std::bit_cast<Word>(value);
        }
    }
    static std::uint64_t bits(T value) noexcept {
        std::uint64_t wide = 0;
        std::memcpy(&wide, &value, sizeof value);
        return wide;
    }
    static T from(std::uint64_t wide) noexcept {
        T value{};
        std::memcpy(&value, &wide, sizeof value);
        return value;
    }
    T update(Update what, T operand, std::memory_order order, Site site) noexcept {
        return from(atomic_update(&value_, sizeof value_, what, bits(operand), order, site));
    }

    Word value_{};
};

}  // namespace model
