// atomic.hpp: the one door to atomics.
//
//   Shape      `Atomic<T>` has the size, alignment and all-zero initial state of T
//   Progress   every call is one instruction or one compare-and-swap; none waits
//   Death      a call has happened or has not
//
// Every call spells its order, so no argument has a default. Nothing else in the tree names
// std::atomic, so a test can put a scheduler in its place here: where LAGOON_ATOMIC names a header,
// that one has `model::Atomic` with the same calls, and the fences.
//
// `light_fence` and `heavy_fence` are the asymmetric pair: a store, `light_fence`, load on
// one side and a store, `heavy_fence`, load on the other side cannot both miss the other's
// store, provided that the light side's process was registered for the kernel's barrier
// (`fence_is_asymmetric`). Where it is not, the light side uses an exchange instead of the store.
//
// `claim_fence` stands between a claim and the plain writes under it, for whoever reads without a
// claim and looks at the word again afterwards.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <lagoon/detail/config.hpp>
#ifdef LAGOON_ATOMIC
#include LAGOON_ATOMIC
#endif

namespace lagoon::inline v1::detail {

/// T is one machine word or less and has an atomic form without a lock.
template <class T>
constexpr bool fits_one_word = std::is_trivially_copyable_v<T> &&
                               (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 ||
                                sizeof(T) == 8);

template <std::size_t Bytes>
struct WordOf;
template <>
struct WordOf<1> {
    using type = std::uint8_t;
};
template <>
struct WordOf<2> {
    using type = std::uint16_t;
};
template <>
struct WordOf<4> {
    using type = std::uint32_t;
};
template <>
struct WordOf<8> {
    using type = std::uint64_t;
};

#ifdef LAGOON_ATOMIC
template <class T>
using Atomic =
    model::Atomic<T, typename std::conditional_t<std::is_scalar_v<T>, std::type_identity<T>,
                                                 WordOf<sizeof(T)>>::type>;
LAGOON_ALWAYS_INLINE void light_fence() noexcept {}
inline bool heavy_fence(model::Site site = model::here()) noexcept {
    return model::heavy_fence_at(site);
}
inline bool heavy_fence(bool, model::Site site = model::here()) noexcept {
    return model::heavy_fence_at(site);  // which reaches nobody in an arena of exchanges
}
inline void claim_fence(model::Site site = model::here()) noexcept {
    model::release_fence_at(site);
}
inline void cpu_relax() { model::relax(); }
constexpr int spin_rounds(int) noexcept { return 1; }
#else
template <class T>
class Atomic {
    // A class is kept as a number of its size: of one that asks for less alignment, as two ints
    // do, clang would make calls into another library.
    using Word = typename std::conditional_t<std::is_scalar_v<T>, std::type_identity<T>,
                                             WordOf<sizeof(T)>>::type;

    LAGOON_ALWAYS_INLINE static constexpr Word word_of(T value) noexcept {
        if constexpr (std::is_same_v<Word, T>) {
            return value;
        } else {
#if __has_builtin(__builtin_clear_padding)
            // No byte of this process's stack gets into the arena.
            if (!std::is_constant_evaluated()) __builtin_clear_padding(&value);
#endif
            return std::bit_cast<Word>(value);
        }
    }
    LAGOON_ALWAYS_INLINE static constexpr T value_of(Word word) noexcept {
        if constexpr (std::is_same_v<Word, T>) {
            return word;
        } else {
            return std::bit_cast<T>(word);
        }
    }

public:
    static_assert(fits_one_word<T>, "an atomic in the arena is 1, 2, 4 or 8 bytes");

    constexpr Atomic() noexcept = default;
    constexpr explicit Atomic(T value) noexcept : value_{word_of(value)} {}
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    LAGOON_ALWAYS_INLINE T load(std::memory_order order) const noexcept {
        return value_of(value_.load(order));
    }
    LAGOON_ALWAYS_INLINE void store(T value, std::memory_order order) noexcept {
        value_.store(word_of(value), order);
    }
    LAGOON_ALWAYS_INLINE T exchange(T value, std::memory_order order) noexcept {
        return value_of(value_.exchange(word_of(value), order));
    }
    LAGOON_ALWAYS_INLINE bool compare_exchange_strong(T& expected, T desired,
                                                      std::memory_order success,
                                                      std::memory_order failure) noexcept {
        if constexpr (std::is_same_v<Word, T>) {
            return value_.compare_exchange_strong(expected, desired, success, failure);
        } else {
            // Padding is compared, too. Where it cannot be cleared the next attempt, byte by byte,
            // has what was found; where it can, another one that could not may have left some.
#if __has_builtin(__builtin_clear_padding)
            const Word wanted = word_of(expected);
            Word word = wanted;
            bool done = false;
            do {
                done = value_.compare_exchange_strong(word, word_of(desired), success, failure);
            } while (!done && word_of(value_of(word)) == wanted);
#else
            Word word;
            std::memcpy(&word, &expected, sizeof word);
            const bool done =
                value_.compare_exchange_strong(word, word_of(desired), success, failure);
#endif
            if (!done) std::memcpy(static_cast<void*>(&expected), &word, sizeof word);
            return done;
        }
    }
    LAGOON_ALWAYS_INLINE T fetch_add(T operand, std::memory_order order) noexcept {
        return value_.fetch_add(operand, order);
    }
    LAGOON_ALWAYS_INLINE T fetch_sub(T operand, std::memory_order order) noexcept {
        return value_.fetch_sub(operand, order);
    }
    LAGOON_ALWAYS_INLINE T fetch_and(T operand, std::memory_order order) noexcept {
        return value_.fetch_and(operand, order);
    }
    LAGOON_ALWAYS_INLINE T fetch_or(T operand, std::memory_order order) noexcept {
        return value_.fetch_or(operand, order);
    }
    LAGOON_ALWAYS_INLINE T fetch_xor(T operand, std::memory_order order) noexcept {
        return value_.fetch_xor(operand, order);
    }

    /// The word itself, for a system call that takes its address.
    void* address() const noexcept { return const_cast<std::atomic<Word>*>(&value_); }

private:
    std::atomic<Word> value_{};
    static_assert(std::atomic<Word>::is_always_lock_free);
    static_assert(sizeof(std::atomic<Word>) == sizeof(T));
};

/// The frequent side of the asymmetric pair: keeps the compiler from moving the load up.
LAGOON_ALWAYS_INLINE void light_fence() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// Behind the swap that claims something, before the first write to it: who sees such a write by an
/// acquire load finds the claim, too. An acquire of the swap does not order its store so. Thread
/// sanitizer has no fences, and nothing to say about the bytes, which are read past it.
LAGOON_ALWAYS_INLINE void claim_fence() noexcept {
#if !defined(__SANITIZE_THREAD__)
    std::atomic_thread_fence(std::memory_order_release);
#endif
}

/// The rare side of the pair: a full barrier on every CPU that runs a registered process.
/// Makes one system call (about 0.3 to 30 us). False where the kernel refuses it: then it was a
/// plain fence, which is enough only where nobody releases by a plain store.
bool heavy_fence() noexcept;
/// The same where the light side's stores are plain; where they are exchanges, a plain fence, and
/// nobody is interrupted.
bool heavy_fence(bool others_light) noexcept;

/// Tells the CPU that this is a loop that waits for another one's store.
LAGOON_ALWAYS_INLINE void cpu_relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

/// How often a loop of `cpu_relax` goes round before it sleeps.
constexpr int spin_rounds(int rounds) noexcept { return rounds; }
#endif

/// True once this process is registered, so that others' `heavy_fence` reaches it.
[[nodiscard]] bool fence_is_asymmetric() noexcept;

/// The atomic view of a plain T that is part of somebody's array.
template <class T>
LAGOON_ALWAYS_INLINE Atomic<T>& as_atomic(T& plain) noexcept {
    static_assert(sizeof(Atomic<T>) == sizeof(T) && alignof(Atomic<T>) <= sizeof(T));
    return *reinterpret_cast<Atomic<T>*>(&plain);
}

}  // namespace lagoon::inline v1::detail
