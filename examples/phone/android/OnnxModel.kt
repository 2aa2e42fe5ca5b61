package com.example.generator

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import java.io.File
import java.nio.ByteBuffer

/** An .onnx file in ONNX Runtime, on the CPU: on Android and in every other Java program. */
class OnnxModel(file: ByteArray, private val shape: LongArray) : PictureModel {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(file)

    override fun run(picture: ByteArray): ByteArray =
        OnnxTensor.createTensor(environment, ByteBuffer.wrap(picture), shape, OnnxJavaType.UINT8).use { given ->
            session.run(mapOf(session.inputNames.single() to given)).use { made ->
                val bytes = (made[0] as OnnxTensor).byteBuffer
                ByteArray(bytes.remaining()).also { bytes.get(it) }
            }
        }

    override fun close() = session.close()
}

/** Returns a proven generator of an .onnx file, which lies in a folder with its manifest. */
fun generatorOf(file: File): Generator {
    val bytes = file.readBytes()
    return Generator(file.name, bytes, File("$file.manifest.json").readText()) { OnnxModel(bytes, it) }
}
