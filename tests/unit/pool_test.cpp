// pool_test.cpp: taking, giving back, making, emptying, counting.
// One piece although long: it follows the header, sentence by sentence.
#include <lagoon/lagoon.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/pools.hpp"

using namespace std::chrono_literals;
using lagoon::Outcome;
using lagoon::SlotStatus;
using support::in_child;
using support::killed_by;
using support::unique_name;

namespace {

struct Item {
    std::int64_t number = 0;
    std::int64_t uses = 0;
};

struct Room {
    explicit Room(lagoon::Count capacity = 3) : items{"items", {.capacity = capacity}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;

Arena make_room(std::uint64_t capacity, const lagoon::ArenaOptions& options = {}) {
    return Arena::create(unique_name("pool"), options, lagoon::Count{capacity});
}
/// With all slots filled, numbered by index.
Arena make_full_room(std::uint64_t capacity, const lagoon::ArenaOptions& options = {}) {
    auto room = make_room(capacity, options);
    for (std::uint64_t i = 0; i < capacity; ++i) {
        room->items.add(Item{static_cast<std::int64_t>(i), 0});
    }
    return room;
}
Item numbered(std::int64_t number) { return {number, 0}; }
auto making(std::int64_t number) {
    return [number] { return numbered(number); };
}

/// Runs `body` on a thread, to its end.
template <class Body>
void on_thread(Body&& body) {
    std::thread{std::forward<Body>(body)}.join();
}

void be_quiet(const char*) noexcept {}

/// In a child: aborts, as a broken contract does.
template <class Body>
bool aborts(Body&& body) {
    return in_child([&] {
               lagoon::set_contract_handler(&be_quiet);
               body();
               return 0;
           }) == killed_by(SIGABRT);
}

}  // namespace

TEST_CASE("pool: an empty pool lends nothing, and the lease says why") {
    auto room = make_room(3);
    auto lease = room->items.try_acquire();
    CHECK_FALSE(lease);
    CHECK(lease.status() == Outcome::would_block);
    CHECK(room->items.capacity() == 3);
    CHECK(room->items.idle() == 0);
    CHECK(room->items.leased() == 0);
    CHECK(lagoon::Lease<Item>{}.status() == Outcome::given_back);
}

TEST_CASE("pool: add puts a resource in, until the pool is at capacity") {
    auto room = make_room(2);
    CHECK(room->items.add(Item{1, 0}));
    CHECK(room->items.add(Item{2, 0}));
    CHECK_FALSE(room->items.add(Item{3, 0}));
    CHECK(room->items.idle() == 2);
    auto a = room->items.try_acquire();
    REQUIRE(a);
    CHECK(a.status() == Outcome::ok);
    CHECK_FALSE(room->items.add(Item{3, 0}));
    a.discard();
    CHECK(room->items.add(Item{3, 0}));
}

TEST_CASE("pool: a freed slot is handed out again, with what its holder wrote") {
    auto room = make_full_room(1);
    {
        auto lease = room->items.try_acquire();
        REQUIRE(lease);
        lease->number = 42;
        CHECK(room->items.leased() == 1);
        CHECK_FALSE(room->items.try_acquire());
    }
    CHECK(room->items.idle() == 1);
    auto again = room->items.try_acquire();
    REQUIRE(again);
    CHECK(again->number == 42);
    CHECK((*again).number == 42);
    CHECK(again.get()->number == 42);
}

TEST_CASE("pool: what one thread gives back last it gets first") {
    auto room = make_full_room(200);
    std::vector<lagoon::Lease<Item>> held;
    for (int i = 0; i < 60; ++i) held.push_back(room->items.try_acquire());
    std::vector<std::uint64_t> order;
    for (auto& lease : held) {
        REQUIRE(lease);
        order.push_back(lease.index());
        lease.give_back();
    }
    std::reverse(order.begin(), order.end());
    for (const std::uint64_t expected : order) {
        held.push_back(room->items.try_acquire());
        CHECK(held.back().index() == expected);
    }
}

TEST_CASE("pool: the last 64 returns come back in order, and all the others come, none twice") {
    auto room = make_full_room(200);
    std::vector<lagoon::Lease<Item>> held;
    for (int i = 0; i < 150; ++i) held.push_back(room->items.try_acquire());
    std::vector<std::uint64_t> order;
    for (auto& lease : held) {
        order.push_back(lease.index());
        lease.give_back();
    }
    held.clear();
    std::reverse(order.begin(), order.end());
    std::set<std::uint64_t> seen;
    for (std::size_t i = 0; i < 200; ++i) {
        held.push_back(room->items.try_acquire());
        REQUIRE(held.back());
        if (i < 64) CHECK(held.back().index() == order[i]);
        seen.insert(held.back().index());
    }
    CHECK(seen.size() == 200);
    CHECK_FALSE(room->items.try_acquire());
}

TEST_CASE("pool: every capacity is lent whole, by memory and by hints, none twice") {
    for (const std::uint64_t capacity :
         std::initializer_list<std::uint64_t>{1, 3, 63, 64, 65, 128, 4095, 4096, 4097, 5000}) {
        CAPTURE(capacity);
        auto room = make_full_room(capacity);
        // Twice by this thread, and once by a thread that remembers nothing.
        for (int round = 0; round < 3; ++round) {
            std::vector<bool> seen(capacity);
            std::uint64_t twice = 0;
            std::uint64_t missing = 0;
            bool more = false;
            const auto take_all = [&] {
                std::vector<lagoon::Lease<Item>> held;
                for (std::uint64_t i = 0; i < capacity; ++i) {
                    held.push_back(room->items.try_acquire());
                    if (!held.back()) {
                        ++missing;
                        continue;
                    }
                    twice += seen[held.back().index()] ? 1U : 0U;
                    seen[held.back().index()] = true;
                }
                more = static_cast<bool>(room->items.try_acquire());
            };
            if (round == 2) {
                on_thread(take_all);
            } else {
                take_all();
            }
            CHECK(twice == 0);
            CHECK(missing == 0);
            CHECK_FALSE(more);
            CHECK(room->items.idle() == capacity);
        }
    }
}

TEST_CASE("pool: acquire_or_create makes a resource only when none is idle") {
    auto room = make_room(3);
    int made = 0;
    const auto make = [&] { return numbered(++made); };
    auto a = room->items.acquire_or_create(make);
    REQUIRE(a);
    CHECK(a->number == 1);
    auto b = room->items.acquire_or_create(make);
    CHECK(b->number == 2);
    a.give_back();
    auto c = room->items.acquire_or_create(make);
    CHECK(c->number == 1);
    CHECK(made == 2);
    CHECK(room->items.stats().created == 2);
    CHECK(room->items.stats().acquired == 3);
    CHECK(room->items.stats().reused() == 1);
}

TEST_CASE("pool: a factory may fill the resource in place, knowing its slot") {
    auto room = make_room(2);
    auto a = room->items.acquire_or_create([&](Item& item, lagoon::Slot slot) {
        CHECK(item.number == 0);
        item.number = static_cast<std::int64_t>(100 + slot.index());
        item.uses = static_cast<std::int64_t>(slot.fill());
    });
    REQUIRE(a);
    CHECK(a->number == static_cast<std::int64_t>(100 + a.index()));
    CHECK(a->uses == static_cast<std::int64_t>(a.fill()));
    CHECK(a.slot() == lagoon::Slot{a.index(), a.fill()});
    auto b = room->items.acquire_or_create([](Item& item) { item.number = 7; });
    CHECK(b->number == 7);
}

TEST_CASE("pool: a factory runs outside of any lock, and may use the pool itself") {
    auto room = make_room(2);
    auto outer = room->items.acquire_or_create([&] {
        auto inner = room->items.acquire_or_create(making(2));
        CHECK(room->items.stats().creating == 1);
        CHECK(room->items.idle() == 0);
        on_thread([&] { (void)room->items.try_acquire(); });
        return numbered(inner->number + 1);
    });
    CHECK(outer->number == 3);
    CHECK(room->items.idle() == 1);
}

TEST_CASE("pool: a factory that throws gives its place back, and its caller gets the exception") {
    auto room = make_room(1);
    CHECK_THROWS_WITH(room->items.acquire_or_create([](Item& item) {
        item.number = 5;
        throw std::runtime_error{"no such cluster"};
    }),
                      "no such cluster");
    CHECK_THROWS_AS(room->items.acquire_or_create([]() -> Item { throw 7; }), int);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().create_failed == 2);
    CHECK(room->items.stats().created == 0);
    CHECK(support::is_blank(room->items, 0));
    auto lease = room->items.acquire_or_create([](Item&) {});
    REQUIRE(lease);
    // Nothing of the failed attempt is left.
    CHECK(lease->number == 0);
    CHECK(lease.fill() == 3);
}

TEST_CASE("pool: at capacity the try form says so and the timed form times out") {
    auto room = make_full_room(1);
    auto held = room->items.try_acquire();
    CHECK(room->items.try_acquire_or_create(making(9)).status() == Outcome::would_block);
    CHECK(room->items.acquire_or_create_for(1ms, making(9)).status() == Outcome::timed_out);
    CHECK(room->items.acquire_or_create_until(std::chrono::steady_clock::now() + 1ms, making(9))
              .status() == Outcome::timed_out);
    CHECK(room->items.acquire_for(1ms).status() == Outcome::timed_out);
    CHECK(room->items.acquire_until(std::chrono::steady_clock::now() + 1ms).status() ==
          Outcome::timed_out);
    CHECK(room->items.stats().timed_out == 4);
    held.discard();
    CHECK(room->items.try_acquire_or_create(making(9)));
}

TEST_CASE("pool: a deadline in the past is one try") {
    auto room = make_full_room(1);
    CHECK(room->items.acquire_for(-1s));
    CHECK(room->items.acquire_until(std::chrono::steady_clock::time_point::min()));
    auto held = room->items.acquire_for(0s);
    REQUIRE(held);
    CHECK(room->items.acquire_for(-1s).status() == Outcome::timed_out);
    CHECK(room->items.acquire_for(std::chrono::hours::min()).status() == Outcome::timed_out);
    held.give_back();
    CHECK(room->items.acquire_for(std::chrono::hours::max()));
}

TEST_CASE("pool: a stop token that is stopped already ends the wait at once") {
    auto room = make_room(1);
    std::stop_source source;
    source.request_stop();
    CHECK(room->items.acquire(source.get_token()).status() == Outcome::cancelled);
    CHECK(room->items.acquire_for(1h, source.get_token()).status() == Outcome::cancelled);
    room->items.add(Item{});
    CHECK(room->items.acquire(source.get_token()));
}

TEST_CASE("pool: discard destroys the resource, and the slot is filled anew") {
    auto room = make_full_room(1);
    auto lease = room->items.try_acquire();
    lease->number = 7;
    const std::uint64_t fill = lease.fill();
    lease.discard();
    CHECK_FALSE(lease);
    CHECK(lease.status() == Outcome::given_back);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().destroyed == 1);
    CHECK(support::is_blank(room->items, 0));
    CHECK_FALSE(room->items.try_acquire());
    auto next = room->items.acquire_or_create([](Item&) {});
    CHECK(next->number == 0);
    CHECK(next.fill() == fill + 1);
}

TEST_CASE("pool: detach takes the resource out for good, without destroying it") {
    auto room = make_full_room(1);
    auto lease = room->items.try_acquire();
    lease->number = 77;
    const Item taken = lease.detach();
    CHECK(taken.number == 77);
    CHECK_FALSE(lease);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().destroyed == 0);
    CHECK(room->items.add(Item{1, 0}));
}

TEST_CASE("pool: fill numbers change when a slot is filled anew, and only then") {
    auto room = make_full_room(1);
    auto lease = room->items.try_acquire();
    const std::uint64_t fill = lease.fill();
    lease.give_back();
    for (int i = 0; i < 5; ++i) CHECK(room->items.try_acquire().fill() == fill);
    on_thread([&] { (void)room->items.try_acquire(); });
    CHECK(room->items.try_acquire().fill() == fill);
    room->items.clear();
    room->items.add(Item{});
    CHECK(room->items.try_acquire().fill() == fill + 1);
}

TEST_CASE("pool: clear empties what is idle, and leaves what is lent") {
    auto room = make_full_room(5);
    auto held = room->items.try_acquire();
    CHECK(room->items.clear() == 4);
    CHECK(room->items.clear() == 0);
    CHECK(room->items.idle() == 0);
    CHECK(room->items.leased() == 1);
    held->number = 3;
    held.give_back();
    CHECK(room->items.try_acquire()->number == 3);
    for (int i = 0; i < 4; ++i) CHECK(room->items.add(Item{}));
    CHECK_FALSE(room->items.add(Item{}));
}

TEST_CASE("pool: close lends no more, and what is lent is destroyed when it comes back") {
    auto room = make_full_room(3);
    auto held = room->items.try_acquire();
    auto other = room->items.try_acquire();
    // Taken from memory, so that no hint has to be set when it comes back.
    held.give_back();
    held = room->items.try_acquire();
    CHECK_FALSE(room->items.closed());
    room->items.close();
    CHECK(room->items.closed());
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.try_acquire().status() == Outcome::closed);
    CHECK(room->items.acquire().status() == Outcome::closed);
    CHECK(room->items.acquire_for(1h).status() == Outcome::closed);
    CHECK(room->items.acquire_or_create(making(1)).status() == Outcome::closed);
    CHECK(room->items.try_acquire_or_create(making(1)).status() == Outcome::closed);
    CHECK(room->items.acquire_n(1).empty());
    CHECK_FALSE(room->items.add(Item{}));
    held->number = 1;
    held.give_back();
    CHECK(room->items.stats().empty == 2);
    on_thread([&] { other.give_back(); });
    CHECK(room->items.stats().empty == 3);
    CHECK(room->items.stats().destroyed == 3);
    room->items.close();
}

TEST_CASE("pool: a resource that is being made while the pool closes is destroyed on return") {
    auto room = make_room(1);
    auto lease = room->items.acquire_or_create([&] {
        room->items.close();
        return numbered(1);
    });
    REQUIRE(lease);
    CHECK(lease->number == 1);
    lease.give_back();
    CHECK(room->items.stats().empty == 1);
}

TEST_CASE("pool: giving a lease back twice, or using an empty one, prints and aborts", "[child]") {
    auto room = make_full_room(2);
    const auto broken = [&](auto&& use) {
        return aborts([&] {
            auto mine = Arena::open(room.name());
            use(mine->items);
        });
    };
    CHECK(broken([](auto& items) {
        auto lease = items.acquire();
        lease.give_back();
        lease.give_back();
    }));
    CHECK(broken([](auto& items) {
        auto lease = items.acquire();
        auto moved = std::move(lease);
        lease.give_back();
    }));
    CHECK(broken([](auto&) { lagoon::Lease<Item>{}.give_back(); }));
    CHECK(broken([](auto&) { lagoon::Lease<Item>{}.discard(); }));
    CHECK(broken([](auto&) { (void)lagoon::Lease<Item>{}.detach(); }));
    CHECK(broken([](auto&) { (void)lagoon::Lease<Item>{}.fill(); }));
    CHECK(broken([](auto&) { lagoon::Lease<Item>{}.mark_clean(); }));
    CHECK(broken([](auto& items) {
        auto lease = items.acquire();
        lease.give_back();
        lease->number = 1;
    }));
    const auto [ended, text] = support::output_of([&] {
        auto lease = room->items.acquire();
        lease.give_back();
        lease.give_back();
        return 0;
    });
    CHECK(ended == killed_by(SIGABRT));
    CHECK(text.find("given back twice") != std::string::npos);
}

TEST_CASE("pool: a lease moves, and the one it is moved onto is given back") {
    auto room = make_full_room(2);
    auto a = room->items.try_acquire();
    auto b = room->items.try_acquire();
    const std::uint64_t index = a.index();
    b = std::move(a);
    CHECK_FALSE(a);
    CHECK(a.status() == Outcome::given_back);
    CHECK(b.index() == index);
    CHECK(room->items.idle() == 1);
    auto& same = b;
    b = std::move(same);
    CHECK(b);
    std::vector<lagoon::Lease<Item>> many;
    many.push_back(std::move(b));
    many.clear();
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool: a lease may be given back by another thread than the one that took it") {
    auto room = make_full_room(1);
    for (int i = 0; i < 100; ++i) {
        auto lease = room->items.try_acquire();
        REQUIRE(lease);
        ++lease->uses;
        on_thread([moved = std::move(lease)]() mutable { moved.give_back(); });
        REQUIRE(room->items.idle() == 1);
    }
    CHECK(room->items.try_acquire()->uses == 100);
}

TEST_CASE("pool: a lease outlives the thread that took it") {
    auto room = make_full_room(3);
    const auto taken_by_thread = [&] {
        lagoon::Lease<Item> lease;
        on_thread([&] { lease = room->items.try_acquire(); });
        return lease;
    };
    auto first = taken_by_thread();
    REQUIRE(first);
    first->number = 11;
    CHECK(room->items.leased() == 1);
    // The next threads get the lane of the first, and neither disturbs nor inherits its lease.
    auto second = taken_by_thread();
    REQUIRE(second);
    CHECK(second.index() != first.index());
    on_thread([&] { first.give_back(); });
    CHECK(room->items.leased() == 1);
    auto third = taken_by_thread();
    REQUIRE(third);
    CHECK(third.index() != second.index());
    // Owned by the process by now, whose shared lane has the lowest numbers.
    for (const auto& lease : {std::cref(second), std::cref(third)}) {
        CHECK(support::word::owner(support::truth_of(room->items, lease.get().index())) == 0);
    }
    second.discard();
    CHECK(third.detach().number >= 0);
    CHECK(room->items.stats().empty == 2);
}

TEST_CASE("pool: a thread that ends hands over what it holds, whatever else it gave back") {
    auto room = make_full_room(2);
    lagoon::Lease<Item> old;
    lagoon::Lease<Item> kept;
    on_thread([&] { old = room->items.try_acquire(); });
    on_thread([&] {
        kept = room->items.try_acquire();
        // Taken under this lane's number, too, but by another thread.
        old.give_back();
    });
    REQUIRE(kept);
    CHECK(support::word::owner(support::truth_of(room->items, kept.index())) == 0);
    kept.give_back();
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool: threads beyond the arena's lanes share one, and lose nothing") {
    auto room = make_full_room(4, {.max_threads = 1});
    auto mine = room->items.try_acquire();
    std::vector<std::thread> threads;
    std::atomic<std::int64_t> done{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 500; ++i) {
                auto lease = room->items.acquire();
                ++lease->uses;
                ++done;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    mine.give_back();
    CHECK(done == 2000);
    CHECK(room->items.idle() == 4);
    std::int64_t uses = 0;
    for (const auto& slot : room->items.snapshot()) uses += slot.value->uses;
    CHECK(uses == 2000);
    CHECK(room->items.stats().acquired == 2001);
}

TEST_CASE("pool: a change made through a lease is seen by the next holder in any process",
          "[child]") {
    auto room = make_full_room(1);
    const std::string name{room.name()};
    CHECK(in_child([&] {
              auto lease = room->items.acquire();
              lease->number = 1234;
              return 0;
          }) == support::exited(0));
    CHECK(room->items.try_acquire()->number == 1234);
    CHECK(in_child([&] {
              auto mine = Arena::open(name);
              auto lease = mine->items.acquire();
              return lease->number == 1234 ? 0 : 1;
          }) == support::exited(0));
}

TEST_CASE("pool: a lease that fork copied is foreign, and its destructor does nothing", "[child]") {
    auto room = make_full_room(2);
    auto lease = room->items.try_acquire();
    lease->number = 5;
    const std::uint64_t index = lease.index();
    CHECK(in_child([&] {
              { auto copy = std::move(lease); }
              auto other = room->items.try_acquire();
              if (!other || other.index() == index) return 1;
              return room->items.try_acquire() ? 2 : 0;
          }) == support::exited(0));
    CHECK(room->items.leased() == 1);
    CHECK(lease->number == 5);
    lease.give_back();
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool: snapshot shows every slot, and the value of idle ones only") {
    auto room = make_room(4);
    for (int i = 0; i < 3; ++i) room->items.add(Item{10 + i, 0});
    auto lease = room->items.try_acquire();
    room->items.acquire().discard();
    const auto slots = room->items.snapshot();
    REQUIRE(slots.size() == 4);
    std::size_t leased = 0;
    std::size_t idle = 0;
    std::size_t empty = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        CHECK(slots[i].index == i);
        CHECK(slots[i].age >= 0ns);
        CHECK_FALSE(slots[i].recovered);
        switch (slots[i].state) {
            case SlotStatus::leased:
                ++leased;
                CHECK(slots[i].index == lease.index());
                CHECK(slots[i].owner_pid == static_cast<std::uint32_t>(::getpid()));
                CHECK(slots[i].fill == lease.fill());
                CHECK_FALSE(slots[i].value);
                break;
            case SlotStatus::idle:
                ++idle;
                CHECK(slots[i].owner_pid == 0);
                REQUIRE(slots[i].value);
                CHECK(slots[i].value->number == static_cast<std::int64_t>(10 + i));
                break;
            default:
                ++empty;
                CHECK(slots[i].state == SlotStatus::empty);
                CHECK_FALSE(slots[i].value);
        }
    }
    CHECK(leased == 1);
    CHECK(idle == 1);
    CHECK(empty == 2);
    CHECK(std::string{to_string(SlotStatus::quarantined)} == "quarantined");
}

TEST_CASE("pool: snapshot's age grows while nothing happens, and starts anew with a change") {
    auto room = make_full_room(1);
    (void)room->items.snapshot();
    std::this_thread::sleep_for(2ms);
    const auto waited = room->items.snapshot()[0];
    CHECK(waited.age >= 2ms);
    const std::uint64_t uses = waited.uses;
    (void)room->items.try_acquire();
    const auto now = room->items.snapshot()[0];
    CHECK(now.age < waited.age);
    CHECK(now.uses == uses + 1);
}

TEST_CASE("pool: stats count what was done") {
    auto room = make_room(3);
    auto a = room->items.acquire_or_create(making(1));
    auto b = room->items.acquire_or_create(making(2));
    b.give_back();
    b = room->items.try_acquire();
    b.give_back();
    b = room->items.acquire();
    b.discard();
    const auto stats = room->items.stats();
    CHECK(stats.capacity == 3);
    CHECK(stats.idle == 0);
    CHECK(stats.leased == 1);
    CHECK(stats.empty == 2);
    CHECK(stats.creating + stats.dirty + stats.maintained + stats.quarantined == 0);
    CHECK(stats.waiting == 0);
    CHECK(stats.acquired == 4);
    CHECK(stats.created == 2);
    CHECK(stats.destroyed == 1);
    CHECK(stats.create_failed == 0);
    CHECK(stats.recovered == 0);
    CHECK(stats.waits == 0);
    CHECK(stats.timed_out == 0);
    CHECK(stats.late_wakes == 0);
}

TEST_CASE("pool: acquire_n takes all or none") {
    auto room = make_full_room(4);
    auto three = room->items.acquire_n(3);
    REQUIRE(three.size() == 3);
    std::set<std::uint64_t> indices;
    for (const auto& lease : three) indices.insert(lease.index());
    CHECK(indices.size() == 3);
    CHECK(room->items.try_acquire_n(2).empty());
    CHECK(room->items.acquire_n_for(1ms, 2).empty());
    CHECK(room->items.idle() == 1);
    CHECK(room->items.try_acquire_n(1).size() == 1);
    three.pop_back();
    CHECK(room->items.acquire_n(2).size() == 2);
    CHECK(room->items.acquire_n(0).empty());
    CHECK(room->items.acquire_n(5).empty());
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool: a capacity that cannot be is an error when the arena is made") {
    const auto code = [](lagoon::Count capacity) {
        return support::code_of([&] { return Arena::create(unique_name("bad"), {}, capacity); });
    };
    CHECK(code(0) == lagoon::Errc::invalid_argument);
    CHECK(code((std::uint64_t{1} << 24) + 1) == lagoon::Errc::invalid_argument);
    CHECK(support::code_of([&] { return lagoon::Count{-1}; }) == lagoon::Errc::invalid_argument);
}

namespace {

template <std::size_t Bytes>
struct Blob {
    std::array<unsigned char, Bytes> bytes;
};
struct alignas(64) Wide {
    std::int64_t number = 0;
};

template <class T>
struct Two {
    lagoon::Pool<T> spaced{"spaced", {.capacity = 1000}};
    lagoon::Pool<T> dense{"dense", {.capacity = 1000, .dense = true}};
};

template <class T>
void check_cost() {
    CAPTURE(sizeof(T), alignof(T));
    auto two = lagoon::Arena<Two<T>>::create(unique_name("cost"));
    const std::uint64_t line = 64;
    const std::uint64_t value = (sizeof(T) + line - 1) / line * line;
    CHECK(support::body_of(two->spaced).stride <= value + 64);
    if (alignof(T) <= 16) {
        CHECK(support::body_of(two->dense).stride <= (sizeof(T) + 7) / 8 * 8 + 16);
    }
    for (auto* pool : {&two->spaced, &two->dense}) {
        pool->add(T{});
        pool->add(T{});
        auto leases = pool->acquire_n(2);
        REQUIRE(leases.size() == 2);
        for (const auto& lease : leases) {
            CHECK(reinterpret_cast<std::uintptr_t>(lease.get()) % alignof(T) == 0);
        }
        const auto distance = std::abs(reinterpret_cast<char*>(leases[0].get()) -
                                       reinterpret_cast<char*>(leases[1].get()));
        CHECK(static_cast<std::uint64_t>(distance) == support::body_of(*pool).stride);
        // One line of slack for the hints of a thousand slots.
        CHECK(support::body_of(*pool).hint_words * 3 * 8 <= 1000 / 2 + 64);
    }
}

}  // namespace

TEST_CASE("pool: a slot costs 64 bytes beyond its value's lines at the most, a dense one 16") {
    check_cost<char>();
    check_cost<std::int64_t>();
    check_cost<Item>();
    check_cost<Blob<48>>();
    check_cost<Blob<49>>();
    check_cost<Blob<64>>();
    check_cost<Blob<100>>();
    check_cost<Blob<1000>>();
    check_cost<Wide>();
}

TEST_CASE("pool: the whole pool costs in the arena what its slots and hints cost") {
    const std::uint64_t some = make_room(1000)->items.capacity();
    const std::uint64_t base = make_room(1000).bytes();
    const std::uint64_t more = make_room(101000).bytes();
    CHECK(some == 1000);
    // Slots of 64 bytes and half a byte of hints, over the pages.
    CHECK(more - base <= 100000 * 64 + 50000 + 2 * 4096);
    CHECK(more - base >= 100000 * 64);
}

TEST_CASE("pool: on_create of the struct may fill it") {
    struct Filled {
        lagoon::Pool<Item> items{"items", {.capacity = 2}};
        void on_create() { items.add(Item{8, 0}); }
    };
    auto room = lagoon::Arena<Filled>::create(unique_name("filled"));
    CHECK(room->items.idle() == 1);
    CHECK(room->items.acquire()->number == 8);
    auto again = lagoon::Arena<Filled>::open(room.name());
    CHECK(again->items.idle() == 1);
}
