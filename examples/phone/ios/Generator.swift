import CryptoKit
import Foundation
import TensorFlowLite

/// What the app reads of the manifest that stands beside the model.
struct Manifest: Decodable {
    let sha256: String
    let variant: String
    let signatures: [String: Signature]
    let golden: Golden

    struct Signature: Decodable {
        let inputs: [String: Tensor]
    }

    struct Tensor: Decodable {
        let dtype: String
    }

    struct Golden: Decodable {
        let inputs: [String: Filled]
        let outputs: [String: Expected]
    }

    struct Filled: Decodable {
        let shape: [Int]
    }

    struct Expected: Decodable {
        let positions: [Int]
        let values: [Int]
    }
}

struct GeneratorError: Error {
    let message: String
}

/// A generator that `examples/export_to_phone.py` wrote: pictures as bytes R G B, row by row, in and out.
///
/// It is made only if the model is the file that its manifest speaks of, and gives the values of the golden pair on
/// this phone; otherwise the initializer throws, and the app must not use it.
final class Generator {
    let height: Int
    let width: Int
    private let interpreter: Interpreter

    init(file: URL) throws {
        let beside = file.deletingLastPathComponent().appendingPathComponent(file.lastPathComponent + ".manifest.json")
        let manifest = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: beside))
        let digest = SHA256.hash(data: try Data(contentsOf: file)).map { String(format: "%02x", $0) }.joined()
        guard digest == manifest.sha256 else {
            throw GeneratorError(message: "\(file.lastPathComponent) is not the file that its manifest was written for.")
        }
        guard manifest.signatures["serving_default"]?.inputs.first?.value.dtype == "uint8",
            let shape = manifest.golden.inputs.first?.value.shape, shape.count == 4,
            let expected = manifest.golden.outputs.first?.value
        else {
            throw GeneratorError(message: "\(file.lastPathComponent) takes no bytes: export it without --floats.")
        }
        (height, width) = (shape[1], shape[2])
        interpreter = try Interpreter(modelPath: file.path)
        try interpreter.allocateTensors()
        let found = try run(Generator.goldenInput(count: shape[1] * shape[2] * shape[3]))
        let off = zip(expected.positions, expected.values).map { abs(Int(found[$0]) - $1) }
        let largest = off.max() ?? 256
        // What is rounded is some levels off in places; swapped channels or strides are tens off everywhere.
        let passed = manifest.variant == "float32" ? largest <= 1 : off.reduce(0, +) <= 12 * off.count
        guard passed else {
            throw GeneratorError(message: "The model differs from Keras by up to \(largest) levels: don't use it.")
        }
    }

    /// Returns the translation of a picture of height × width pixels, as bytes.
    func run(_ picture: [UInt8]) throws -> [UInt8] {
        try interpreter.copy(Data(picture), toInputAt: 0)
        try interpreter.invoke()
        return [UInt8](try interpreter.output(at: 0).data)
    }

    /// The manifest's rule: floor(256 u), u being the place times 2654435761 modulo 2^32, divided by 2^32.
    static func goldenInput(count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: (UInt64($0) * 2654435761 & 0xFFFF_FFFF) >> 24) }
    }
}
