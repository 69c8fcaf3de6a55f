// desk.hpp: the arena that is damaged: every kind of member, of every width that is kept in a way
// of its own.
#pragma once

#include <sys/mman.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <lagoon/lagoon.hpp>

namespace fuzz {

struct Odd {
    char bytes[3];
};
struct Wide {
    std::uint64_t a = 1, b = 2, c = 3;
};
struct Twelve {
    std::uint32_t a = 1, b = 2, c = 3;
};
struct Item {
    lagoon::String<12> name;
    std::uint32_t uses = 0;
};
struct alignas(64) Line {
    std::uint64_t number = 7;
};

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::ShardedCounter many{"many"};
    lagoon::Value<int> small{"small", 7};
    lagoon::Value<Odd> odd{"odd"};
    lagoon::Value<Wide> wide{"wide"};
    lagoon::Value<lagoon::String<20>> note{"note"};
    lagoon::Array<int> numbers{"numbers", 5};
    lagoon::Array<Twelve> table{"table", 3};
    lagoon::Array<Line> lines{"lines", 2};
    lagoon::Lock lock{"lock"};
    lagoon::Lock strict{"strict", {.strict_owner = true}};
    lagoon::Pool<int> few{"few", {.capacity = 3}};
    /// Right behind the slots of `few`, and looks like some more that are idle.
    lagoon::Array<std::uint64_t> bait{"bait", 64};
    lagoon::Pool<Item> some{"some", {.capacity = 100, .dense = true}};
    lagoon::Pool<Line> lined{"lined", {.capacity = 2}};
    lagoon::Pool<std::uint32_t> slots{"slots", {.capacity = 4200, .dense = true}};
    /// All that ends a resource, within the time that an input takes; and all times kept.
    lagoon::Pool<Item> aged{"aged",
                            {.capacity = 5,
                             .life = {.max_lifetime = std::chrono::microseconds{200},
                                      .lifetime_jitter = 0.5,
                                      .max_uses = 3,
                                      .idle_timeout = std::chrono::microseconds{50},
                                      .min_size = 1,
                                      .validate_after = std::chrono::nanoseconds{0},
                                      .max_failures = 2,
                                      .lease_limit = std::chrono::microseconds{1},
                                      .measure = true}}};
    lagoon::Pool<int> queued{"queued",
                             {.capacity = 3,
                              .life = {.order = lagoon::LendOrder::fifo},
                              .creation = {.at_once = 1,
                                           .retry_after = std::chrono::microseconds{10},
                                           .retry_at_most = std::chrono::microseconds{50}},
                              .wait_order = lagoon::WaitOrder::first_come}};
};

constexpr std::uint64_t bait_word = lagoon::detail::word::one_generation |
                                    static_cast<std::uint64_t>(lagoon::detail::SlotState::free);

constexpr lagoon::Count processes = 4;
constexpr lagoon::Count threads = 6;

inline lagoon::Arena<Desk> make_desk(const std::string& name) {
    auto desk = lagoon::Arena<Desk>::create(name, {.lifetime = lagoon::Lifetime::persistent,
                                                   .max_processes = processes,
                                                   .max_threads = threads,
                                                   .keeper = false});
    for (int i = 0; i < 3; ++i) desk->few.add(i);
    desk->bait.fill(bait_word);
    for (int i = 0; i < 70; ++i) desk->some.add({});
    for (std::uint32_t i = 0; i < 200; ++i) desk->slots.add(i);
    desk->lined.add({});
    for (int i = 0; i < 2; ++i) {
        desk->aged.add({});
        desk->queued.add(i);
    }
    return desk;
}

/// Unreadable pages before and behind a mapping, as long as this lives, so that an access past
/// either end faults.
class Guards {
public:
    Guards(void* mapping, std::uint64_t bytes) noexcept {
        auto* begin = static_cast<char*>(mapping);
        before_ = guard(begin - size);
        behind_ = guard(begin + bytes);
    }
    ~Guards() {
        if (before_ != nullptr) ::munmap(before_, size);
        if (behind_ != nullptr) ::munmap(behind_, size);
    }
    Guards(const Guards&) = delete;
    Guards& operator=(const Guards&) = delete;

private:
    static constexpr std::size_t size = 16 * lagoon::detail::page_bytes;
    static void* guard(void* at) noexcept {
        void* page =
            ::mmap(at, size, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
        if (page == MAP_FAILED) return nullptr;  // something is there already
        if (page == at) return page;
        ::munmap(page, size);
        return nullptr;
    }

    void* before_ = nullptr;
    void* behind_ = nullptr;
};

}  // namespace fuzz
