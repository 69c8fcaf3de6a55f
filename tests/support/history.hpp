// history.hpp: what processes did, recorded where their deaths cannot take it along.
//
// Each participant has a page of records of its own in memory that is shared by fork. A record is
// counted before its call is made and completed after it, so a call that was killed inside is
// there, unanswered. The clock is one shared counter: it orders all begins and ends.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/arenas.hpp"
#include "support/linearizable.hpp"

namespace support {

/// `Entry` is trivially copyable: what was asked and what came back.
template <class Entry, std::size_t Participants, std::size_t Most>
class History {
public:
    std::uint64_t now() { return clock_->fetch_add(1) + 1; }

    /// Records that the participant is about to do this; false when its page is full. `moment` is
    /// another history's, where two go by one clock.
    bool begin(std::size_t participant, const Entry& entry) {
        return begin(participant, entry, now());
    }
    bool begin(std::size_t participant, const Entry& entry, std::uint64_t moment) {
        Page& page = (*pages_)[participant];
        const std::uint64_t index = page.begun.load();
        if (index == Most) return false;
        page.records[index].end = never;
        page.records[index].operation = entry;
        page.records[index].begin = moment;
        page.begun.store(index + 1);
        return true;
    }
    /// More about the call that began last.
    void note(std::size_t participant, const Entry& entry) {
        Page& page = (*pages_)[participant];
        page.records[page.begun.load() - 1].operation = entry;
    }
    /// Its answer.
    void end(std::size_t participant, const Entry& entry) {
        Page& page = (*pages_)[participant];
        auto& record = page.records[page.begun.load() - 1];
        record.operation = entry;
        // Last: a record that has an end is complete.
        std::atomic_ref<std::uint64_t>{record.end}.store(now());
    }
    /// In the order of each participant, once nobody writes any more.
    [[nodiscard]] std::vector<Call<Entry>> of(std::size_t participant) const {
        const Page& page = (*pages_)[participant];
        return {page.records.begin(),
                page.records.begin() + static_cast<std::ptrdiff_t>(page.begun.load())};
    }
    [[nodiscard]] std::vector<Call<Entry>> all() const {
        std::vector<Call<Entry>> calls;
        for (std::size_t p = 0; p < Participants; ++p) {
            const auto own = of(p);
            calls.insert(calls.end(), own.begin(), own.end());
        }
        return calls;
    }

private:
    struct Page {
        std::atomic<std::uint64_t> begun{0};
        std::array<Call<Entry>, Most> records{};
    };
    Shared<std::array<Page, Participants>> pages_;
    Shared<std::atomic<std::uint64_t>> clock_;
};

/// One lease, by the moments between which it surely was held.
struct LeaseTime {
    std::uint64_t slot = 0;
    std::uint64_t fill = 0;
    std::uint64_t taken = never;  // acquire had returned; never: killed before that
    std::uint64_t given = never;  // give_back was about to be called; never: killed with it
    std::uint64_t died = never;   // of one that was killed with it: just before that
};

/// The slot and number of a filling, and when it began.
using Fills = std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t>;

/// What is wrong with these leases, in words; empty: nothing. Linear but for the sorting.
inline std::string flaw_of(std::vector<LeaseTime> leases, const Fills& fills) {
    std::sort(leases.begin(), leases.end(), [](const LeaseTime& a, const LeaseTime& b) {
        return std::pair{a.slot, a.taken} < std::pair{b.slot, b.taken};
    });
    const LeaseTime* before = nullptr;
    for (const LeaseTime& lease : leases) {
        if (lease.taken == never) continue;
        const std::string what =
            "slot " + std::to_string(lease.slot) + " at " + std::to_string(lease.taken) + ": ";
        const auto fill = fills.find({lease.slot, lease.fill});
        if (fill == fills.end()) return what + "lent without a filling";
        if (fill->second > lease.taken) return what + "lent before its filling";
        if (before != nullptr && before->slot == lease.slot) {
            if (before->given != never && before->given > lease.taken) return what + "lent twice";
            if (before->given == never && before->died > lease.taken) {
                return what + "lent while its holder lived";
            }
            if (lease.fill < before->fill) return what + "a filling from before the last one";
        }
        before = &lease;
    }
    return {};
}

}  // namespace support
