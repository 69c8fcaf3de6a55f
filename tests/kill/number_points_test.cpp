// number_points_test.cpp: killed at the instructions of every further form of changing a number,
// and of elements, counters and wide values in threads that share their process's lane.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using rig::Actor;
using rig::Desk;
using rig::Model;
using rig::Operation;
using rig::Stage;
using rig::sweep_all;
using rig::Text;
using rig::Wide;

namespace {

using Number = lagoon::Value<int>;
using Element = lagoon::Element<int>;

/// The value is 5 before.
Operation of_value(const char* name, int after, void (*change)(Number&)) {
    return {.name = name,
            .run = [=](Actor& a) { change(a.desk->narrow); },
            .effect = [=](Model& m) { m.narrow = after; }};
}
/// The elements are 7 before.
Operation of_element(const char* name, int after, void (*change)(const Element&)) {
    return {.name = name,
            .run = [=](Actor& a) { change(a.desk->numbers[1]); },
            .effect = [=](Model& m) { m.numbers[1] = after; }};
}

void wide_9(Model& model) { model.wide = {9, 9, 9, 9, 9}; }

}  // namespace

TEST_CASE("kill: at the instructions of every form of changing a value", "[kill][process]") {
    sweep_all({
        of_value("Value fetch_sub", 3, [](Number& v) { v.fetch_sub(2); }),
        of_value("Value fetch_and", 4, [](Number& v) { v.fetch_and(6); }),
        of_value("Value fetch_or", 7, [](Number& v) { v.fetch_or(2); }),
        of_value("Value fetch_xor", 6, [](Number& v) { v.fetch_xor(3); }),
        of_value("Value fetch_min", 2, [](Number& v) { v.fetch_min(2); }),
        of_value("Value fetch_max", 9, [](Number& v) { v.fetch_max(9); }),
        of_value("Value +=", 7, [](Number& v) { v += 2; }),
        of_value("Value -=", 3, [](Number& v) { v -= 2; }),
        {.name = "text fetch_max",
         .run = [](Actor& a) { a.desk->text.fetch_max(Text{"b"}); },
         .effect = [](Model& m) { m.text = "b"; }},
        {.name = "Value wait_for until its deadline",
         .run =
             [](Actor& a) {
                 (void)a.desk->narrow.wait_for([](int) { return false; }, a.patience);
             }},
        {.name = "wide Value wait_for until its deadline",
         .run =
             [](Actor& a) {
                 (void)a.desk->wide.wait_for([](const Wide&) { return false; }, a.patience);
             }},
        {.name = "Value wait, cancelled",
         .prepare = rig::stop_by_flag,
         .run =
             [](Actor& a) {
                 (void)a.desk->narrow.wait([](int) { return false; }, a.stop.get_token());
             },
         .set = rig::lower_flag,
         .blocked = rig::raise_flag},
    });
}

TEST_CASE("kill: at the instructions of every form of changing an element or a counter",
          "[kill][process]") {
    sweep_all({
        of_element("Array sub", 5, [](const Element& e) { e.sub(2); }),
        of_element("Array fetch_and", 6, [](const Element& e) { e.fetch_and(6); }),
        of_element("Array fetch_or", 15, [](const Element& e) { e.fetch_or(8); }),
        of_element("Array fetch_xor", 4, [](const Element& e) { e.fetch_xor(3); }),
        of_element("Array fetch_min", 2, [](const Element& e) { e.fetch_min(2); }),
        of_element("Array fetch_max", 9, [](const Element& e) { e.fetch_max(9); }),
        of_element("Array =", 9, [](const Element& e) { e = 9; }),
        of_element("Array +=", 9, [](const Element& e) { e += 2; }),
        of_element("Array -=", 5, [](const Element& e) { e -= 2; }),
        {.name = "Array of wide elements, span under a lock",
         .run =
             [](Actor& a) {
                 const std::lock_guard guard{a.desk->lock};
                 for (Wide& row : a.desk->table.span()) row = {9, 9, 9, 9, 9};
             },
         .check =
             [](Stage& s, bool over) {
                 // Torn only where the lock says that somebody died in it.
                 const bool told = s.desk->lock.owner_died();
                 for (const Wide& row : s.desk->table.span()) {
                     const bool old = row == Wide{1, 1, 1, 1, 1};
                     const bool changed = row == Wide{9, 9, 9, 9, 9};
                     REQUIRE((changed || (!over && (old || told))));
                 }
             }},
        {.name = "Counter sub",
         .run = [](Actor& a) { a.desk->total.sub(5); },
         .effect = [](Model& m) { m.total -= 5; }},
        {.name = "ShardedCounter sub",
         .run = [](Actor& a) { a.desk->events.sub(3); },
         .effect = [](Model& m) { m.events -= 3; }},
    });
}

TEST_CASE("kill: at the instructions of threads that share their process's lane",
          "[kill][process]") {
    sweep_all({
        {.name = "ShardedCounter add by the process's shared lane",
         .prepare = rig::share_a_lane,
         .run = [](Actor& a) { a.desk->events.add(3); },
         .effect = [](Model& m) { m.events += 3; }},
        {.name = "wide Value store by the process's shared lane",
         .prepare = rig::share_a_lane,
         .run =
             [](Actor& a) {
                 a.desk->wide.store({9, 9, 9, 9, 9});
             },
         .effect = wide_9},
        {.name = "lock and unlock by the process's shared lane",
         .prepare = rig::share_a_lane,
         .run =
             [](Actor& a) {
                 if (!a.desk->lock.lock()) std::abort();
                 a.desk->lock.unlock();
             }},
        {.name = "give_back by the process's shared lane",
         .prepare =
             [](Actor& a) {
                 rig::share_a_lane(a);
                 a.leases.push_back(a.desk->pool.acquire());
             },
         .run = [](Actor& a) { a.leases.back().give_back(); }},
    });
}

TEST_CASE("kill: at the instructions of a lock whose owner alone may unlock it",
          "[kill][process]") {
    const auto lock = [](Actor& a) {
        if (!a.desk->strict.lock()) std::abort();
    };
    const auto unlock = [](Actor& a) { a.desk->strict.unlock(); };
    const auto both = [=](Actor& a) {
        lock(a);
        unlock(a);
        return 0;
    };
    sweep_all({
        {.name = "strict lock", .run = lock},
        {.name = "strict unlock", .prepare = lock, .run = unlock},
        {.name = "strict unlock while somebody waits",
         .prepare = lock,
         .run = unlock,
         .waiter = both},
        {.name = "lock, cancelled while it waits",
         .prepare = rig::stop_by_flag,
         .run = [](Actor& a) { (void)a.desk->lock.lock(a.stop.get_token()); },
         .set =
             [](Stage& s) {
                 rig::lower_flag(s);
                 REQUIRE(s.desk->lock.lock());
                 s.later = [&s] { s.desk->lock.unlock(); };
             },
         .blocked = rig::raise_flag},
    });
}
