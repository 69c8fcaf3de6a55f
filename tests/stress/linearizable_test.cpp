// linearizable_test.cpp: the check of histories, held against histories whose answer is known.
#include "support/linearizable.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "load.hpp"
#include "support/specifications.hpp"

using support::check_linearizable;
using support::never;
using support::QueueSpec;
using support::RegisterSpec;
using support::Verdict;

namespace {

using RegisterCalls = std::vector<support::Call<RegisterSpec::Operation>>;
using QueueCalls = std::vector<support::Call<QueueSpec::Operation>>;

support::Call<RegisterSpec::Operation> read(std::uint64_t begin, std::uint64_t end,
                                            std::int64_t found) {
    return {begin, end, {.kind = RegisterSpec::Kind::read, .found = found}};
}
support::Call<RegisterSpec::Operation> write(std::uint64_t begin, std::uint64_t end,
                                             std::int64_t desired) {
    return {begin, end, {.kind = RegisterSpec::Kind::write, .desired = desired}};
}
support::Call<RegisterSpec::Operation> exchange(std::uint64_t begin, std::uint64_t end,
                                                std::int64_t expected, std::int64_t desired,
                                                bool done, std::int64_t found) {
    return {begin,
            end,
            {.kind = RegisterSpec::Kind::compare_exchange,
             .expected = expected,
             .desired = desired,
             .found = found,
             .done = done}};
}
support::Call<QueueSpec::Operation> put(std::uint64_t begin, std::uint64_t end,
                                        std::int64_t value) {
    return {begin, end, {.kind = QueueSpec::Kind::put, .value = value}};
}
support::Call<QueueSpec::Operation> get(std::uint64_t begin, std::uint64_t end,
                                        std::int64_t value) {
    return {begin, end, {.kind = QueueSpec::Kind::get, .value = value}};
}
support::Call<QueueSpec::Operation> get_nothing(std::uint64_t begin, std::uint64_t end) {
    return {begin, end, {.kind = QueueSpec::Kind::get, .empty = true}};
}

Verdict of(const RegisterCalls& calls) { return check_linearizable<RegisterSpec>(calls, 0); }
Verdict of(const QueueCalls& calls) { return check_linearizable<QueueSpec>(calls, {}); }

}  // namespace

TEST_CASE("linearizable: calls that overlap may have come in either order") {
    CHECK(of(RegisterCalls{write(1, 4, 7), read(2, 3, 0)}) == Verdict::linearizable);
    CHECK(of(RegisterCalls{write(1, 4, 7), read(2, 3, 7)}) == Verdict::linearizable);
    CHECK(of(RegisterCalls{write(1, 6, 7), read(2, 3, 0), read(4, 5, 7)}) == Verdict::linearizable);
    CHECK(of(RegisterCalls{}) == Verdict::linearizable);
}

TEST_CASE("linearizable: a read before a write's call, or behind its end, sees just one value") {
    CHECK(of(RegisterCalls{write(1, 2, 7), read(3, 4, 0)}) == Verdict::impossible);
    CHECK(of(RegisterCalls{read(1, 2, 7), write(3, 4, 7)}) == Verdict::impossible);
    CHECK(of(RegisterCalls{read(1, 2, 5)}) == Verdict::impossible);
    // New and then old again, within one long write.
    CHECK(of(RegisterCalls{write(1, 6, 7), read(2, 3, 7), read(4, 5, 0)}) == Verdict::impossible);
}

TEST_CASE("linearizable: of two who exchange the same value one fails") {
    CHECK(of(RegisterCalls{exchange(1, 3, 0, 1, true, 0), exchange(2, 4, 0, 2, false, 1)}) ==
          Verdict::linearizable);
    CHECK(of(RegisterCalls{exchange(1, 3, 0, 1, true, 0), exchange(2, 4, 0, 2, true, 0)}) ==
          Verdict::impossible);
    CHECK(of(RegisterCalls{exchange(1, 3, 0, 1, false, 2), exchange(2, 4, 0, 2, false, 1)}) ==
          Verdict::impossible);
}

TEST_CASE("linearizable: what a killed process had begun has happened, or has not") {
    CHECK(of(RegisterCalls{write(1, never, 7), read(3, 4, 0)}) == Verdict::linearizable);
    CHECK(of(RegisterCalls{write(1, never, 7), read(3, 4, 7)}) == Verdict::linearizable);
    CHECK(of(RegisterCalls{write(1, never, 7), read(3, 4, 0), read(5, 6, 7)}) ==
          Verdict::linearizable);
    CHECK(of(RegisterCalls{write(1, never, 7), read(3, 4, 7), read(5, 6, 0)}) ==
          Verdict::impossible);
    CHECK(of(RegisterCalls{read(1, 2, 7), write(3, never, 7)}) == Verdict::impossible);
    CHECK(of(QueueCalls{put(1, 2, 1), get(3, never, 0), get_nothing(5, 6)}) ==
          Verdict::linearizable);
    CHECK(of(QueueCalls{put(1, 2, 1), put(3, 4, 2), get(5, never, 0), get(6, 7, 2)}) ==
          Verdict::linearizable);
}

TEST_CASE("linearizable: a queue gives in the order of puts that did not overlap") {
    CHECK(of(QueueCalls{put(1, 2, 1), put(3, 4, 2), get(5, 6, 1), get(7, 8, 2)}) ==
          Verdict::linearizable);
    CHECK(of(QueueCalls{put(1, 4, 1), put(2, 3, 2), get(5, 6, 2), get(7, 8, 1)}) ==
          Verdict::linearizable);
    CHECK(of(QueueCalls{put(1, 2, 1), put(3, 4, 2), get(5, 6, 2), get(7, 8, 1)}) ==
          Verdict::impossible);
    CHECK(of(QueueCalls{put(1, 2, 1), get(3, 4, 1), get(5, 6, 1)}) == Verdict::impossible);
    CHECK(of(QueueCalls{put(1, 2, 1), get_nothing(3, 4)}) == Verdict::impossible);
    CHECK(of(QueueCalls{get_nothing(1, 4), put(2, 3, 1), get(5, 6, 1)}) == Verdict::linearizable);
}

TEST_CASE("linearizable: a search that reaches its bound decides nothing") {
    QueueCalls calls;
    for (std::int64_t i = 0; i < 12; ++i) calls.push_back(put(1, 100, i));
    for (std::int64_t i = 0; i < 12; ++i) calls.push_back(get(101, 200, 11 - i));
    calls.push_back(get(201, 202, 77));  // never put
    CHECK(check_linearizable<QueueSpec>(calls, {}, 1000) == Verdict::undecided);
}

TEST_CASE("linearizable: histories made from an order are found possible, and spoilt ones not") {
    load::Random random{1};
    for (int round = 0; round < load::iterations(300); ++round) {
        // Each call takes effect at its own moment, and overlaps its neighbours.
        RegisterCalls calls;
        std::int64_t value = 0;
        std::vector<std::size_t> reads;
        for (std::uint64_t i = 0; i < 14; ++i) {
            const std::uint64_t moment = 10 * (i + 1);
            const std::uint64_t begin = moment - random.below(10);
            const std::uint64_t end = moment + random.below(10);
            if (random.below(2) == 0) {
                value = static_cast<std::int64_t>(random.below(4));
                calls.push_back(write(begin, end, value));
            } else {
                reads.push_back(calls.size());
                calls.push_back(read(begin, end, value));
            }
        }
        REQUIRE(of(calls) == Verdict::linearizable);
        if (reads.empty()) continue;
        calls[reads[random.below(reads.size())]].operation.found = 9;  // never written
        REQUIRE(of(calls) == Verdict::impossible);
    }
}
