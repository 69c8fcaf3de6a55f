// lease.hpp: one resource of a pool, borrowed.
//
//   Shape      movable, in private memory; the resource stays in the arena
//   Progress   giving back is wait-free unless somebody waits for the resource; in a closed pool
//              it runs destroy
//   Errors     giving back twice, or using an empty lease, prints and aborts
//   Death      the borrower's death returns the resource by the pool's policy, and the next lease
//              of it says recovered(). A copy made by fork is foreign: its destructor does
//              nothing, using it is a broken contract
#pragma once

#include <cstdint>
#include <utility>

#include <lagoon/detail/pool_core.hpp>
#include <lagoon/error.hpp>

namespace lagoon::inline v1 {

template <class T>
class Pool;

template <class T>
class Lease {
public:
    Lease() noexcept = default;
    Lease(Lease&& other) noexcept
        : pool_{std::exchange(other.pool_, nullptr)},
          value_{other.value_},
          word_{other.word_},
          index_{other.index_},
          epoch_{other.epoch_},
          by_{other.by_} {}
    LAGOON_ALWAYS_INLINE Lease& operator=(Lease&& other) noexcept {
        if (this != &other) {
            if (pool_ != nullptr) release();
            pool_ = std::exchange(other.pool_, nullptr);
            value_ = other.value_;
            word_ = other.word_;
            index_ = other.index_;
            epoch_ = other.epoch_;
            by_ = other.by_;
        }
        return *this;
    }
    LAGOON_ALWAYS_INLINE ~Lease() {
        if (pool_ != nullptr) release();
    }

    explicit operator bool() const noexcept { return pool_ != nullptr; }
    /// ok while it holds a resource, else why it does not.
    [[nodiscard]] Outcome status() const noexcept {
        if (pool_ != nullptr) return Outcome::ok;
        return word_ == 0 ? detail::outcome_of(taken()) : Outcome::given_back;
    }

    /// What a wait that ended without a resource was waiting for last; none while it holds one.
    [[nodiscard]] Phase phase() const noexcept {
        return pool_ == nullptr && word_ == 0 ? detail::phase_of(taken()) : Phase::none;
    }

    T& operator*() const noexcept { return *get(); }
    T* operator->() const noexcept { return get(); }
    LAGOON_ALWAYS_INLINE T* get() const noexcept {
        if (pool_ == nullptr) [[unlikely]]
            detail::contract_failure("an empty lease is used");
        require_own();
        return value_;
    }

    /// True when a borrower died with this resource and nobody has vouched for it since: a passed
    /// check or reset, or mark_clean().
    [[nodiscard]] bool recovered() const noexcept { return detail::word::recovered(word_); }
    /// For the holder who has put the resource right.
    void mark_clean() noexcept {
        require();
        word_ = detail::pool_mark_clean(*pool_, taken(), epoch_);
    }

    /// For the holder who has found it unfit: when it comes back, by whichever way or death, it is
    /// destroyed and not lent again. In any pool; asked again, nothing changes.
    void mark_broken() noexcept {
        require();
        const std::uint64_t word = detail::pool_mark_broken(*pool_, taken(), epoch_);
        if (word == word_) return;
        word_ = word;
        by_ = 0;
    }
    /// Counts one failure of this filling, for PoolLife::max_failures. Where the pool has no
    /// PoolLife, nothing.
    void report_failure() noexcept {
        require();
        detail::pool_report_failure(*pool_, taken(), epoch_);
    }

    [[nodiscard]] std::uint64_t index() const noexcept { return index_; }
    [[nodiscard]] std::uint64_t fill() const noexcept {
        require();
        return detail::pool_fill(*pool_, index_);
    }
    [[nodiscard]] Slot slot() const noexcept { return {index(), fill()}; }

    /// Returns the resource. Once only: a second call prints and aborts.
    LAGOON_ALWAYS_INLINE void give_back() noexcept {
        if (pool_ == nullptr) [[unlikely]]
            refuse();
        release(detail::Asked::by_user);
        pool_ = nullptr;
    }
    /// Destroys the resource instead of returning it; the slot becomes empty. Where another process
    /// has given a destroy, and this one none, it is left to that one.
    void discard() {
        require();
        detail::pool_discard(*std::exchange(pool_, nullptr), taken(), epoch_);
    }
    /// Takes the resource out for good, without destroy: a copy of it, and an empty slot.
    [[nodiscard]] T detach() {
        require();
        alignas(T) unsigned char bytes[sizeof(T)];
        detail::pool_detach(*std::exchange(pool_, nullptr), taken(), epoch_, bytes);
        return *std::launder(reinterpret_cast<T*>(bytes));
    }

private:
    friend class Pool<T>;

    LAGOON_ALWAYS_INLINE Lease(detail::PoolObject& pool, const detail::Held& held) noexcept
        : pool_{held.word != 0 ? &pool : nullptr},
          // As a number: where nothing was taken there is no slot to be beyond of.
          value_{reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(held.slot) +
                                      detail::value_offset<T>)},
          word_{held.word},
          index_{held.index},
          epoch_{held.epoch},
          by_{held.by} {}

    LAGOON_ALWAYS_INLINE void require() const noexcept {
        if (pool_ == nullptr) [[unlikely]]
            refuse();
        require_own();
    }
    [[noreturn]] static void refuse() noexcept {
        detail::contract_failure("a lease is given back twice, or was never held");
    }
    LAGOON_ALWAYS_INLINE void require_own() const noexcept {
        if (!detail::is_epoch_of_process(epoch_)) [[unlikely]]
            detail::lease_is_foreign();
    }
    [[nodiscard]] detail::Taken taken() const noexcept { return {word_, index_}; }
    LAGOON_ALWAYS_INLINE void release(detail::Asked asked = detail::Asked::by_destructor) noexcept {
        auto* slot = reinterpret_cast<detail::SlotHead*>(reinterpret_cast<std::uintptr_t>(value_) -
                                                         detail::value_offset<T>);
        detail::pool_give_back_fast(*pool_, {slot, word_, index_, epoch_, by_}, asked);
    }

    detail::PoolObject* pool_ = nullptr;
    T* value_ = nullptr;
    // One by one: as a struct, g++ moves both through a vector register and the stack.
    std::uint64_t word_ = 0;
    std::uint64_t index_ = detail::not_taken(Outcome::given_back).index;
    std::uint64_t epoch_ = 0;  // of the process that took it: a fork's child has another
    std::uint64_t by_ = 0;     // as detail::Held
};

}  // namespace lagoon::inline v1
