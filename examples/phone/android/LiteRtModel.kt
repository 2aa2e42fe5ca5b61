package com.example.generator

import android.content.Context
import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** A .tflite file of the app's assets in LiteRT, on the CPU. */
class LiteRtModel(assets: AssetManager, file: String) : PictureModel {
    private val model = CompiledModel.create(assets, file, CompiledModel.Options(Accelerator.CPU))

    override fun run(picture: ByteArray): ByteArray {
        val inputs = model.createInputBuffers()
        val outputs = model.createOutputBuffers()
        try {
            inputs[0].writeInt8(picture)
            model.run(inputs, outputs)
            return outputs[0].readInt8()
        } finally {
            (inputs + outputs).forEach { it.close() }
        }
    }

    override fun close() = model.close()
}

/** Returns a proven generator of a .tflite file, which lies in the app's assets with its manifest. */
fun generatorOf(context: Context, file: String): Generator {
    fun bytes(name: String) = context.assets.open(name).use { it.readBytes() }
    return Generator(file, bytes(file), bytes("$file.manifest.json").decodeToString()) {
        LiteRtModel(context.assets, file)
    }
}
