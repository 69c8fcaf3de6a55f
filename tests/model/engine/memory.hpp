// memory.hpp: what a load may return, and which plain accesses race.
//
// Histories (C++20): every location keeps its stores in modification order, which is the order in
// which they were executed. A load returns any store that is not older than what its actor has
// seen of that location, the newest first; how many loads of an execution return an older one is
// bounded. A release store carries what its actor has seen, an acquire load takes it over, and a
// read-modify-write hands on what the store it read carried (a release sequence). Behind a release
// fence every store carries what its actor had seen at the fence. A failed compare-and-swap is a
// load.
//
// The order of all seq_cst operations is that of their execution, but that a seq_cst load may
// stand earlier in it than it is executed: behind the last one that its actor has done or has
// learnt of, and behind those whose doings it reads. So it returns nothing older than what the
// seq_cst operations before that place have read or written; a barrier, which is an operation of
// this order, takes over and publishes all of these. Left out: a store that comes into the middle
// of a history, an order in which other operations than loads change places, values out of thin
// air, consume.
//
// Store buffers (x86): stores wait in order in their actor's buffer until an event takes the
// oldest to memory; the actor itself sees them at once. Read-modify-writes, seq_cst stores,
// barriers and the kernel's calls empty the buffer first.
//
// Clocks tell which plain accesses are ordered, in both.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine.hpp"

namespace model {

using Clock = std::array<std::uint32_t, most_actors>;

constexpr std::size_t most_locations = 512;
using View = std::array<std::uint16_t, most_locations>;

constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t h = a * 0x9e3779b97f4a7c15 + b + 0x7f4a7c15;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93;
    return h ^ h >> 29;
}
inline std::uint64_t hash_of(const Clock& clock) noexcept {
    std::uint64_t h = 0;
    for (const std::uint32_t c : clock) h = mix(h, c);
    return h;
}
inline void join(Clock& into, const Clock& from) noexcept {
    for (std::size_t i = 0; i < into.size(); ++i) {
        if (from[i] > into[i]) into[i] = from[i];
    }
}

/// What an actor has seen. Kernel locks carry one, too. `ordered`: what the seq_cst operations had
/// touched when the last one was executed that comes before this actor's next.
struct Knowledge {
    Clock clock{};
    View seen{};
    View ordered{};
    View lags{};  // the older store that its last load returned, if it did; of an actor only
};

enum class Rmw { exchange, add, subtract, bit_and, bit_or, bit_xor };

class Memory {
public:
    void share(void* memory, std::size_t bytes);
    void unshare();
    [[nodiscard]] bool is_shared(const void* at) const noexcept {
        return reinterpret_cast<std::uintptr_t>(at) - begin_ < bytes_;
    }
    void begin_execution(const Bounds& bounds);

    std::uint64_t load(int actor, const void* at, unsigned size, std::memory_order order);
    void store(int actor, void* at, unsigned size, std::uint64_t value, std::memory_order order);
    std::uint64_t update(int actor, void* at, unsigned size, Rmw what, std::uint64_t operand,
                         std::memory_order order);
    bool compare_exchange(int actor, void* at, unsigned size, std::uint64_t& expected,
                          std::uint64_t desired, std::memory_order success,
                          std::memory_order failure);
    /// The kernel writes: ordered with nothing.
    void kernel_store(void* at, unsigned size, std::uint64_t value);

    void learn(int actor, const Knowledge& from);
    void teach(int actor, Knowledge& into);
    /// A full barrier in each of these actors, as if at one moment.
    void barrier(const std::vector<int>& actors);
    /// From here on every store of this actor carries what it has seen so far.
    void release_fence(int actor);

    [[nodiscard]] bool has_buffered(int actor) const noexcept { return !buffer_[actor].empty(); }
    void flush_one(int actor);
    void flush_all(int actor);

    void plain_read(int actor, const void* at, std::size_t bytes);
    void plain_write(int actor, const void* at, std::size_t bytes, std::uint64_t writer_state);

    [[nodiscard]] std::uint64_t hash() const noexcept;
    [[nodiscard]] std::uint64_t hash_of_actor(int actor) const noexcept;
    [[nodiscard]] std::uint64_t offset_of(const void* at) const noexcept {
        return reinterpret_cast<std::uintptr_t>(at) - begin_;
    }

private:
    struct Message {
        std::uint64_t value;
        Clock clock;
        std::uint32_t view;     // in views_; 0: nothing
        std::uint32_t ordered;  // the same: `ordered` of all who have written here so far
    };
    struct Location {
        void* at = nullptr;
        unsigned size = 0;
        std::uint16_t index = 0;
        std::uint64_t execution = 0;
        std::uint64_t hash = 0;
        std::vector<Message> history;
    };
    struct Buffered {
        Location* where;
        Message message;
    };
    /// Of four bytes: who wrote them last, who has read them since.
    struct Shadow {
        std::uint64_t execution = 0;
        std::int32_t writer = -1;
        std::uint32_t written = 0;
        Clock read{};
        std::uint64_t hash = 0;
    };

    Location& location(const void* at, unsigned size);
    void append(Location& where, const Message& message);
    Message message_of(int actor, Location& where, std::uint64_t value, bool releases,
                       const Message* carried);
    void take_over(int actor, const Message& message);
    std::uint64_t read_at(int actor, Location& where, std::size_t stamp, std::memory_order order);
    std::size_t choose_store(int actor, const Location& where, std::memory_order order);
    std::size_t oldest_visible(int actor, const Location& where, std::memory_order order) const;
    void touch_seq_cst(Location& where, std::size_t stamp);
    void order_now(int actor);
    std::uint32_t ordered_by(int actor, const Location& where);
    static void raise(View& view, const View& by, std::size_t count);
    [[nodiscard]] std::uint64_t hash_of_view(const View& view) const noexcept;
    std::uint32_t new_view();
    Shadow& shadow(const void* at, std::size_t granule);
    void rehash(Shadow& shadow, std::uint64_t place, std::uint64_t extra);

    std::uintptr_t begin_ = 0;
    std::size_t bytes_ = 0;
    std::uint64_t execution_ = 0;
    bool histories_ = false;
    bool buffers_ = false;
    bool lag_ = false;
    std::uint32_t stale_left_ = 0;
    std::uint64_t hash_ = 0;
    std::vector<std::uint16_t> index_of_byte_;  // of the shared memory; 0: none
    std::deque<Location> locations_;
    View ordered_{};  // per location the newest store that a seq_cst operation has touched
    std::vector<View> views_;
    std::size_t views_used_ = 0;
    std::vector<Shadow> shadows_;
    std::array<Knowledge, most_actors> known_{};
    std::array<Knowledge, most_actors> fenced_{};  // at the last release fence
    std::array<std::deque<Buffered>, most_actors> buffer_{};

public:
    [[nodiscard]] std::uint32_t stale_left() const noexcept { return stale_left_; }
};

}  // namespace model
