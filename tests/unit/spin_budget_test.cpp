// spin_budget_test.cpp: spinning is given up where it is in vain, and taken up again.
#include <catch2/catch.hpp>

#include "runtime/attachment.hpp"
#include "support/waiting.hpp"

using lagoon::detail::SpinBudget;
using namespace support::waiting;
using namespace std::chrono_literals;

TEST_CASE("spin budget: each loop in vain halves it, and one that was not makes it whole again") {
    SpinBudget budget;
    for (const int rounds : {200, 100, 50, 25, 12, 6, 3, 1, 0, 0}) {
        CHECK(budget.rounds(200) == rounds);
        budget.was_in_vain();
    }
    budget.worked();
    CHECK(budget.rounds(200) == 200);
}

TEST_CASE("spin budget: all of it every sixteenth time") {
    SpinBudget budget;
    for (int i = 0; i < 64; ++i) {
        CHECK((budget.rounds(200) == 200) == (i % 16 == 0));
        budget.was_in_vain();
    }
}

TEST_CASE("spin budget: a pool's waits that end by sleeping are counted for it") {
    auto room = make_full_room(1);
    const auto lease = room->items.acquire();
    const auto& own = lagoon::detail::pool_private(*lagoon::detail::attachment_of(&room->items),
                                                   support::object_of(room->items));
    CHECK(own.spins.rounds(200) == 200);
    for (int i = 0; i < 3; ++i) CHECK_FALSE(room->items.acquire_for(1ms));
    CHECK(own.spins.rounds(200) == 25);
    CHECK_FALSE(room->items.acquire_for(0ms));
    CHECK_FALSE(room->items.try_acquire());
    CHECK(own.spins.rounds(200) == 25);
}
