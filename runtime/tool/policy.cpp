#include "policy.hpp"

#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

#include <lagoon/pool_options.hpp>

namespace lagoon::inline v1::tool {

namespace {

const char* name_of(OnDeath on_death) {
    switch (on_death) {
        case OnDeath::check_then_reuse: return "check_then_reuse";
        case OnDeath::reuse: return "reuse";
        case OnDeath::reset_then_reuse: return "reset_then_reuse";
        case OnDeath::destroy: return "destroy";
        case OnDeath::quarantine: return "quarantine";
    }
    return "unknown";
}

const char* name_of(WaitOrder order) {
    switch (order) {
        case WaitOrder::any: return "any";
        case WaitOrder::first_come: return "first_come";
    }
    return "unknown";
}

/// In the largest unit that shows it whole.
std::string duration_text(std::uint64_t ns) {
    constexpr std::array<std::pair<std::uint64_t, const char*>, 6> units{
        {{86'400'000'000'000, " d"},
         {3'600'000'000'000, " h"},
         {60'000'000'000, " min"},
         {1'000'000'000, " s"},
         {1'000'000, " ms"},
         {1'000, " us"}}};
    for (const auto& [unit, name] : units) {
        if (ns != 0 && ns % unit == 0) return std::to_string(ns / unit) + name;
    }
    return std::to_string(ns) + " ns";
}

bool is_duration(std::string_view name) { return name.ends_with("_ns"); }

constexpr std::array<std::pair<const char*, double>, 4> quantiles{
    {{"p50_ns", 0.5}, {"p99_ns", 0.99}, {"p99_9_ns", 0.999}, {"max_ns", 1}}};

/// With three digits.
std::string rough_text(double ns) {
    constexpr std::array<const char*, 4> units{" ns", " us", " ms", " s"};
    std::size_t unit = 0;
    for (; ns >= 999.5 && unit + 1 < units.size(); ++unit) ns /= 1000;
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.3g", ns);
    return text.data() + std::string{units.at(unit)};
}

}  // namespace

Json policy_of(const detail::PoolBody& body) {
    const detail::LifePolicy& life = body.life;
    const detail::CreationPolicy& creation = body.creation;
    const auto order = static_cast<LendOrder>(life.order);
    return {{"on_death", name_of(static_cast<OnDeath>(body.on_death))},
            {"quarantine_after", body.quarantine_after},
            {"wait_order", name_of(static_cast<WaitOrder>(body.wait_order))},
            {"max_waiters", body.max_waiters},
            {"max_lifetime_ns", life.max_lifetime_ns},
            {"lifetime_jitter", life.jitter_ppb / 1e9},
            {"max_uses", life.max_uses},
            {"idle_timeout_ns", life.idle_timeout_ns},
            {"min_size", life.min_size},
            {"validates", life.validates != 0},
            {"validate_after_ns", life.validate_after_ns},
            {"max_failures", life.max_failures},
            {"lend_order", order == LendOrder::fifo ? "fifo" : "lifo"},
            {"lease_limit_ns", life.lease_limit_ns},
            {"creation_at_once", creation.at_once},
            {"retry_after_ns", creation.retry_after_ns},
            {"retry_at_most_ns", creation.retry_at_most_ns},
            {"create_limit_ns", creation.create_limit_ns},
            {"check_limit_ns", creation.check_limit_ns},
            {"reset_limit_ns", creation.reset_limit_ns}};
}

std::string policy_text(const Json& policy) {
    std::string text;
    for (const auto& [name, value] : policy.items()) {
        const bool checks_each = name == "validate_after_ns" && policy["validates"].get<bool>();
        if (name == "validates" || (value.is_number() && value == 0 && !checks_each)) continue;
        text += text.empty() ? "" : ", ";
        if (is_duration(name)) {
            text += name.substr(0, name.size() - 3) + ' ' + duration_text(value);
        } else {
            text += name + ' ' + (value.is_string() ? value.get<std::string>() : value.dump());
        }
    }
    return text;
}

Json times_of(const detail::PoolObject& pool) {
    if (detail::body_of(pool).creation.times_at == 0) return nullptr;
    const PoolTimes times = detail::pool_times(pool);
    const auto told = [](const Histogram& histogram) {
        Json json = {{"count", histogram.count()}};
        for (const auto& [name, share] : quantiles) {
            json[name] = histogram.quantile(share).count();
        }
        return json;
    };
    return {{"waited", told(times.waited)}, {"held", told(times.held)}, {"made", told(times.made)}};
}

std::string times_text(const Json& times) {
    std::string text;
    for (const auto& [kind, told] : times.items()) {
        if (told["count"] == 0) continue;
        text += "  " + kind + ' ' + told["count"].dump() + " times";
        for (const auto& [name, share] : quantiles) {
            const std::string_view quantile{name};
            text += ", " + std::string{quantile.substr(0, quantile.size() - 3)} + ' ' +
                    rough_text(told[name].get<double>());
        }
        text += '\n';
    }
    return text;
}

}  // namespace lagoon::inline v1::tool
