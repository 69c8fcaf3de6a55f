#include "svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

namespace lagoon_perf {

namespace {

constexpr double width = 720;
constexpr const char* dark = "#24292f";
constexpr const char* pale = "#d8dee4";

/// One colour per name, the same in every plot.
std::string colour_of(const std::string& name) {
    constexpr std::array<std::pair<const char*, const char*>, 9> known{{
        {"lagoon::Pool, waiting", "#e58a94"},
        {"lagoon", "#c9243f"},
        {"sem_t", "#8250df"},
        {"boost::lockfree::stack", "#0969da"},
        {"LoFFLi", "#1a7f37"},
        {"rte_mempool", "#bc4c00"},
        {"robust", "#57606a"},
        {"empty", "#9a9a9a"},
        {"Manager", "#a48800"},
    }};
    for (const auto& [part, colour] : known) {
        if (name.find(part) != std::string::npos) return colour;
    }
    return "#6e7781";
}

struct Range {
    double low = 0;
    double high = 1;
};

/// From values to places along one axis.
class Scale {
public:
    Scale(const Axis& axis, Range range, double from, double to)
        : log_(axis.logarithmic), low_(map(range.low)), from_(from) {
        const double span = map(range.high) - low_;
        factor_ = span > 0 ? (to - from) / span : 0;
    }
    [[nodiscard]] double operator()(double value) const {
        return from_ + (map(value) - low_) * factor_;
    }

private:
    [[nodiscard]] double map(double value) const {
        return log_ ? std::log10(std::max(value, 1e-12)) : value;
    }
    bool log_;
    double low_;
    double from_;
    double factor_;
};

std::vector<std::pair<double, std::string>> ticks_of(const Axis& axis, Range range) {
    if (!axis.ticks.empty()) return axis.ticks;
    std::vector<std::pair<double, std::string>> ticks;
    const auto add = [&](double value) {
        ticks.emplace_back(value, axis.is_time ? duration_text(value) : number_text(value));
    };
    if (axis.logarithmic) {
        for (double at = std::pow(10, std::ceil(std::log10(range.low) - 1e-9));
             at <= range.high * 1.001; at *= 10) {
            add(at);
        }
        return ticks;
    }
    const double rough = (range.high - range.low) / 5;
    const double power = std::pow(10, std::floor(std::log10(std::max(rough, 1e-12))));
    double step = power;
    for (const double times : {2.0, 5.0, 10.0}) {
        if (step < rough) step = power * times;
    }
    for (double at = std::ceil(range.low / step) * step; at <= range.high * 1.001; at += step)
        add(at);
    return ticks;
}

/// Opens out to whole powers of ten, or to zero.
Range widened(const Axis& axis, Range range) {
    if (!axis.logarithmic) return {std::min(range.low, 0.0), range.high * 1.05};
    return {std::pow(10, std::floor(std::log10(range.low) + 1e-9)),
            std::pow(10, std::ceil(std::log10(range.high * 1.02)))};
}

std::string text_at(double x, double y, const std::string& anchor, const std::string& text,
                    const std::string& more = "") {
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                       anchor, more, escaped(text));
}

std::string line_at(double x1, double y1, double x2, double y2, const std::string& colour,
                    double thick = 1) {
    return fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" "
        "stroke-width=\"{}\"/>\n",
        x1, y1, x2, y2, colour, thick);
}

std::string opened(double height, const std::string& title) {
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
               "height=\"{1}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{2}\" "
               "role=\"img\">\n"
               "<title>{3}</title>\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
               width, height, dark, escaped(title)) +
           text_at(12, 20, "start", title, " font-size=\"14\" font-weight=\"bold\"");
}

bool usable(const Axis& axis, double value) {
    return std::isfinite(value) && (!axis.logarithmic || value > 0);
}

std::string spread_line(double x1, double y1, double x2, double y2, const std::string& colour) {
    const bool across = y1 == y2;
    const double dx = across ? 0 : 3;
    const double dy = across ? 3 : 0;
    return line_at(x1, y1, x2, y2, colour) + line_at(x1 - dx, y1 - dy, x1 + dx, y1 + dy, colour) +
           line_at(x2 - dx, y2 - dy, x2 + dx, y2 + dy, colour);
}

std::string polyline(const Series& one, const Scale& x, const Scale& y, const std::string& colour,
                     bool dots) {
    std::string path;
    std::string marks;
    for (const Point& point : one.points) {
        path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x(point.x), y(point.y));
        if (!dots) continue;
        marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n",
                             x(point.x), y(point.y), colour);
        if (point.low < point.high) {
            marks += spread_line(x(point.x), y(point.low), x(point.x), y(point.high), colour);
        }
    }
    return fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\"/>\n", path,
                       colour) +
           marks;
}

Range range_of(const Axis& axis, const std::vector<Series>& all, double Point::*field) {
    Range range{INFINITY, -INFINITY};
    for (const Series& one : all) {
        for (const Point& point : one.points) {
            if (!usable(axis, point.*field)) continue;
            range.low = std::min(range.low, point.*field);
            range.high = std::max(range.high, point.*field);
        }
    }
    return range.low <= range.high ? range : Range{1, 10};
}

}  // namespace

std::string number_text(double value) {
    if (value >= 1e6 && std::fmod(value, 1e6) == 0) return fmt::format("{}M", value / 1e6);
    if (value >= 1e4 && std::fmod(value, 1e3) == 0) return fmt::format("{}k", value / 1e3);
    return fmt::format("{:g}", value);
}

std::string duration_text(double ns) {
    constexpr std::array<std::pair<double, const char*>, 4> units{
        {{1e9, "s"}, {1e6, "ms"}, {1e3, "\u00b5s"}, {1, "ns"}}};
    for (const auto& [size, name] : units) {
        if (ns >= size * 0.9995 || size == 1) return fmt::format("{:.3g} {}", ns / size, name);
    }
    return {};
}

std::string escaped(const std::string& text) {
    std::string result;
    for (const char letter : text) {
        switch (letter) {
            case '&': result += "&amp;"; break;
            case '<': result += "&lt;"; break;
            case '>': result += "&gt;"; break;
            case '"': result += "&quot;"; break;
            default: result += letter;
        }
    }
    return result;
}

std::string bar_chart(const std::string& title, const Axis& axis, const std::vector<Bar>& bars) {
    constexpr double left = 250;
    constexpr double right = width - 90;
    constexpr double row = 24;
    constexpr double top = 36;
    const double bottom = top + row * static_cast<double>(bars.size());
    Range range{INFINITY, 0};
    for (const Bar& bar : bars) {
        if (!usable(axis, bar.value)) continue;
        range.low = std::min({range.low, bar.value, bar.low > 0 ? bar.low : bar.value});
        range.high = std::max({range.high, bar.value, bar.high});
    }
    if (range.low > range.high) range = {1, 10};
    range = widened(axis, range);
    const Scale x(axis, range, left, right);
    std::string svg = opened(bottom + 44, title);
    for (const auto& [at, label] : ticks_of(axis, range)) {
        svg += line_at(x(at), top, x(at), bottom, pale);
        svg += text_at(x(at), bottom + 16, "middle", label);
    }
    svg += text_at((left + right) / 2, bottom + 34, "middle", axis.label);
    double y = top;
    for (const Bar& bar : bars) {
        const double middle = y + row / 2;
        y += row;
        if (!usable(axis, bar.value)) continue;
        svg += text_at(left - 8, middle + 4, "end", bar.name);
        svg += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"14\" fill=\"{}\"/>\n", left,
            middle - 7, std::max(x(bar.value) - left, 1.0), colour_of(bar.name));
        double end = x(bar.value);
        if (bar.low < bar.high) {
            svg += spread_line(x(bar.low), middle, x(bar.high), middle, dark);
            end = std::max(end, x(bar.high));
        }
        svg += text_at(end + 6, middle + 4, "start",
                       axis.is_time ? duration_text(bar.value) : fmt::format("{:.4g}", bar.value));
    }
    return svg + "</svg>\n";
}

std::string line_chart(const std::string& title, const Axis& across, const Axis& up,
                       const std::vector<Series>& all) {
    constexpr double left = 70;
    constexpr double right = width - 20;
    constexpr double top = 36;
    constexpr double bottom = 290;
    std::vector<Series> shown;
    std::size_t most_points = 0;
    for (const Series& one : all) {
        Series kept{one.name, {}};
        for (const Point& point : one.points) {
            if (usable(across, point.x) && usable(up, point.y)) kept.points.push_back(point);
        }
        most_points = std::max(most_points, kept.points.size());
        if (!kept.points.empty()) shown.push_back(kept);
    }
    const Range x_range = range_of(across, shown, &Point::x);
    const Range y_range = widened(up, range_of(up, shown, &Point::y));
    const Scale x(across, x_range, left + 8, right - 8);
    const Scale y(up, y_range, bottom, top);
    const double legend_rows = std::ceil(static_cast<double>(shown.size()) / 2);
    std::string svg = opened(bottom + 52 + legend_rows * 18, title);
    for (const auto& [at, label] : ticks_of(up, y_range)) {
        svg += line_at(left, y(at), right, y(at), pale);
        svg += text_at(left - 6, y(at) + 4, "end", label);
    }
    for (const auto& [at, label] : ticks_of(across, x_range)) {
        svg += line_at(x(at), bottom, x(at), bottom + 4, dark);
        svg += text_at(x(at), bottom + 17, "middle", label);
    }
    svg += line_at(left, bottom, right, bottom, dark);
    svg += text_at((left + right) / 2, bottom + 35, "middle", across.label);
    svg += fmt::format(
        "<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        (top + bottom) / 2, escaped(up.label));
    double entry = 0;
    for (const Series& one : shown) {
        const std::string colour = colour_of(one.name);
        svg += polyline(one, x, y, colour, most_points <= 20);
        const double at_x = left + (std::fmod(entry, 2) == 0 ? 0 : 320);
        const double at_y = bottom + 54 + std::floor(entry / 2) * 18;
        svg += line_at(at_x, at_y - 4, at_x + 22, at_y - 4, colour, 3);
        svg += text_at(at_x + 28, at_y, "start", one.name);
        ++entry;
    }
    return svg + "</svg>\n";
}

}  // namespace lagoon_perf
